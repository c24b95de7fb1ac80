#include "runner/engine/engine.h"

#include <gtest/gtest.h>
#include <torch/script.h>

#include <cmath>
#include <random>
#include <sstream>

#include "models.h"
#include "runner/engine/torch_module.h"

namespace imagecalc {
namespace {

using test::exported_model;
using test::scripted_model;

Engine& engine() {
  static const std::unique_ptr<Engine> engine = make_engine();
  return *engine;
}

std::vector<float> random_batch(std::size_t images, TensorSize size) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> batch(images * 3 * size.height * size.width);
  for (float& value : batch) value = normal(random);
  return batch;
}

std::string message_of(const Blob& model, TensorSize size) {
  auto batch = random_batch(2, size);
  try {
    engine().load(model)->run({batch.data(), 2}, size, 1);
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::bad_model);
    return error.what();
  }
  return "no error";
}

TEST(TorchEngine, ScoresEqualADirectForward) {
  Blob bytes = exported_model("script");
  std::istringstream stream(std::string(bytes.begin(), bytes.end()));
  torch::jit::Module module = torch::jit::load(stream);
  module.eval();
  for (TensorSize size : {TensorSize{24, 24}, TensorSize{10, 33}, TensorSize{128, 128}}) {
    for (std::size_t images : {1, 2, 7}) {
      auto batch = random_batch(images, size);
      Scores scores = engine().load(bytes)->run({batch.data(), images}, size, 2);
      ASSERT_EQ(scores.outputs, 4u);
      ASSERT_EQ(scores.values.size(), images * 4);
      at::NoGradGuard no_gradients;
      at::Tensor direct =
          module.forward({at::from_blob(batch.data(), {std::int64_t(images), 3, size.height, size.width})}).toTensor();
      for (std::size_t i = 0; i < scores.values.size(); ++i) {
        EXPECT_NEAR(scores.values[i], direct.contiguous().data_ptr<float>()[i], 1e-4);
      }
    }
  }
}

TEST(TorchEngine, RefusesBytesThatAreNoModel) {
  EXPECT_THROW(engine().load({}), Error);
  EXPECT_THROW(engine().load(Blob(1000, 7)), Error);
  Blob model = exported_model("script");
  for (std::size_t size : {std::size_t{1}, std::size_t{100}, model.size() / 2, model.size() - 1}) {
    try {
      engine().load(std::span(model).first(size));
      ADD_FAILURE() << "the first " << size << " bytes of a model were taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::bad_model);
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    }
  }
}

TEST(TorchEngine, RefusesModelsThatDoNotClassify) {
  EXPECT_EQ(message_of(scripted_model("def forward(self, x):\n    return x, x\n"), {8, 8}),
            "the model does not return a tensor");
  EXPECT_EQ(message_of(scripted_model("def forward(self, x):\n    return x\n"), {8, 8}),
            "the model does not return one row of scores an image");
  EXPECT_EQ(message_of(scripted_model("def forward(self, x):\n    return x.flatten(1).to(dtype=3)\n"), {8, 8}),
            "the model's scores are not floating-point numbers");
  EXPECT_EQ(message_of(scripted_model("def forward(self):\n    return self.weight\n"), {8, 8}).find("the model failed: "),
            0u);
}

TEST(TorchEngine, AModelMaySayWhyItRefuses) {
  Blob choosy = scripted_model(
      "def forward(self, x):\n"
      "    assert x.size(2) >= 16, 'at least 16 rows are needed'\n"
      "    return torch.matmul(x.mean([2, 3]), self.weight)\n");
  EXPECT_EQ(message_of(choosy, {8, 8}), "the model failed: at least 16 rows are needed");
  EXPECT_EQ(message_of(choosy, {16, 16}), "no error");
  // PyTorch 2 names the operator before that.
  const std::string failed =
      message_of(scripted_model("def forward(self, x):\n    return torch.matmul(x.flatten(1), self.weight)\n"), {8, 8});
  EXPECT_TRUE(failed == "the model failed: mat1 and mat2 shapes cannot be multiplied (2x192 and 3x4)" ||
              failed == "the model failed: mm: mat1 and mat2 shapes cannot be multiplied (2x192 and 3x4)")
      << failed;
}

TEST(TorchEngine, InspectTriesEveryShape) {
  Blob choosy = scripted_model(
      "def forward(self, x):\n    assert x.size(2) >= 16\n    return torch.matmul(x.mean([2, 3]), self.weight)\n");
  InspectReply reply = engine().inspect({choosy, {{8, 8}, {16, 24}, {0, 4}}});
  ASSERT_EQ(reply.shapes.size(), 3u);
  EXPECT_EQ(reply.shapes[0].outputs, 0u);
  EXPECT_FALSE(reply.shapes[0].refusal.empty());
  EXPECT_EQ(reply.shapes[1].outputs, 4u);
  EXPECT_TRUE(reply.shapes[1].refusal.empty());
  EXPECT_EQ(reply.shapes[2].outputs, 0u);
  EXPECT_EQ(reply.parameters, 12u);
  EXPECT_TRUE(reply.learns_statistics) << "without batch norm there is nothing to learn wrongly";
}

TEST(TorchEngine, InspectTellsWhatCanBeTrained) {
  InspectReply script = engine().inspect({exported_model("script"), {{24, 24}}});
  EXPECT_EQ(script.parameters, 98'196u);
  EXPECT_TRUE(script.learns_statistics);
  InspectReply trace = engine().inspect({exported_model("trace"), {{24, 24}}});
  EXPECT_EQ(trace.parameters, script.parameters);
  EXPECT_FALSE(trace.learns_statistics) << "traced in evaluation mode, batch norm never updates";
  InspectReply frozen = engine().inspect({exported_model("frozen"), {{24, 24}}});
  EXPECT_EQ(frozen.parameters, 0u);
  EXPECT_EQ(frozen.shapes.at(0).outputs, 4u);
}

TEST(TorchMessage, KeepsTheLineThatMatters) {
  EXPECT_EQ(
      torch_message("The following operation failed in the TorchScript interpreter.\nTraceback of TorchScript (most recent "
                    "call last):\n  File \"a.py\", line 3, in forward\n    return x\nRuntimeError: too small\n"),
      "too small");
  EXPECT_EQ(torch_message("Traceback:\nRuntimeError: AssertionError: too small\n"), "too small");
  EXPECT_EQ(torch_message("[enforce fail at inline_container.cc:145] . failed finding central directory\nframe #0: foo"),
            "failed finding central directory");
  EXPECT_EQ(torch_message("plain"), "plain");
  EXPECT_EQ(torch_message("\n\n"), "unknown error");
  EXPECT_EQ(torch_message(""), "unknown error");
}

}  // namespace
}  // namespace imagecalc
