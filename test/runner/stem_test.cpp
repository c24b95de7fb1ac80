#include "runner/train/stem.h"

#include <gtest/gtest.h>

#include <sstream>

#include "models.h"
#include "runner/engine/torch_module.h"

namespace imagecalc {
namespace {

constexpr int kKernel = 4;

at::Tensor first_weight(const torch::jit::Module& module) { return *module.parameters().begin(); }

// Of all layers but the first.
std::size_t other_parameters(const torch::jit::Module& module) {
  return trainable_parameters(module) - std::size_t(first_weight(module).numel());
}

// Every block mirrored in itself.
at::Tensor mirrored_blocks(const at::Tensor& batch) {
  const auto sizes = batch.sizes();
  return batch.view({sizes[0], sizes[1], sizes[2], sizes[3] / kKernel, kKernel}).flip(4).reshape(sizes);
}

torch::jit::Module saved_and_loaded(const torch::jit::Module& module) {
  std::ostringstream stream;
  module.save(stream);
  const std::string bytes = stream.str();
  return load_module({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

TEST(Stem, ReadsEachBlockAlone) {
  for (const char* form : {"script", "trace", "resnet18-script", "resnet18-trace", "mobilenet_v3_small-script",
                           "efficientnet_b3-trace", "shufflenet_v2_x1_0-script"}) {
    SCOPED_TRACE(form);
    torch::jit::Module module = load_module(test::exported_model(form));
    const std::size_t rest = other_parameters(module);
    const auto outputs = first_weight(module).size(0);
    set_stem(module, kKernel);
    EXPECT_EQ(first_weight(module).sizes(), (std::vector<std::int64_t>{outputs, 3, kKernel, kKernel}));
    EXPECT_TRUE(first_weight(module).requires_grad());
    EXPECT_EQ(other_parameters(module), rest) << "nothing else is another";

    // Only a kernel at that stride, without padding, does not notice when blocks and kernel are mirrored alike.
    at::NoGradGuard no_gradients;
    module.eval();
    const at::Tensor batch = at::randn({3, 3, 24, 24});
    const at::Tensor scores = forward(module, batch);
    EXPECT_FALSE(at::allclose(forward(module, mirrored_blocks(batch)), scores, 1e-3, 1e-4));
    first_weight(module).copy_(first_weight(module).flip(3));
    EXPECT_TRUE(at::allclose(forward(module, mirrored_blocks(batch)), scores, 1e-3, 1e-4));

    torch::jit::Module again = saved_and_loaded(module);
    EXPECT_TRUE(at::allclose(forward(again, batch), forward(module, batch)));
  }
}

TEST(Stem, StaysWhereItIsThereAlready) {
  torch::jit::Module module = load_module(test::exported_model("script"));
  at::manual_seed(1);
  set_stem(module, kKernel);
  const at::Tensor weight = first_weight(module).clone();
  torch::jit::Module again = saved_and_loaded(module);
  set_stem(again, kKernel);
  EXPECT_TRUE(first_weight(again).equal(weight));
  set_stem(again, 2);
  EXPECT_EQ(first_weight(again).size(3), 2);
  at::manual_seed(1);
  set_stem(again, kKernel);
  EXPECT_TRUE(first_weight(again).equal(weight)) << "the same draw";
}

TEST(Stem, IsRefusedWhereNoConvolutionCanBeReplaced) {
  const std::string header = "def forward(self, x):\n";
  const std::pair<Blob, const char*> cases[] = {
      {test::tiny_model(), "it has none"},
      {test::exported_model("frozen"), "its weights are computed, or frozen into the code"},
      {test::scripted_model(header + "    return torch.conv2d(x, self.weight.view(4, 3, 1, 1)).mean([2, 3])\n"),
       "its weights are computed, or frozen into the code"},
      {test::scripted_model(header + "    return torch.conv2d(x, self.weight).mean([2, 3])\n"), "it does not read 3 channels"}};
  for (const auto& [bytes, why] : cases) {
    torch::jit::Module module = load_module(bytes);
    try {
      set_stem(module, kKernel);
      FAIL() << why;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::bad_model);
      EXPECT_EQ(std::string(error.what()), std::string("the model's first convolution cannot be replaced by a stem: ") + why);
    }
  }
}

}  // namespace
}  // namespace imagecalc
