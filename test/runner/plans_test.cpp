// Every plan against plain LibTorch, on real pictures and on networks as people use them.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <thread>

#include "codec/encode.h"
#include "codec/tensor.h"
#include "models.h"
#include "pictures.h"
#include "runner/engine/openvino_plan.h"
#include "runner/engine/torch_plans.h"
#include "runner/engine/trial.h"

namespace imagecalc {
namespace {

constexpr std::size_t kPictures = 5;

// Photographs spread over the folder, or drawn pictures.
std::vector<Blob> picture_files() {
  std::vector<std::filesystem::path> paths;
  std::error_code absent;
  for (const auto& entry : std::filesystem::directory_iterator(test::data_folder() / "weather", absent)) {
    if (entry.path().extension() == ".jpg") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Blob> files;
  for (std::size_t i = 0; i < kPictures; ++i) {
    files.push_back(paths.size() < kPictures ? write_jpeg(test::drawn_picture(231 + 10 * int(i), 173, 3, unsigned(i)), 90)
                                             : test::read_file(paths[i * paths.size() / kPictures]));
  }
  return files;
}

// Coded pictures as a trained model gets them: with a deviation of 1 in each channel.
struct Coded {
  explicit Coded(const char* text) {
    const Format format = parse_format(text);
    for (const Blob& file : picture_files()) {
      Coefficients coefficients = encode_file(file, format, Limits{}, Interrupt{});
      Geometry geometry = coefficients.geometry();
      size = {geometry.tensor_height, geometry.tensor_width};
      tensors.resize(tensors.size() + image_floats());
      place(coefficients, tensors.data() + tensors.size() - image_floats());
    }
    for (std::size_t channel = 0; channel < 3; ++channel) normalise(channel);
  }

  std::size_t image_floats() const { return std::size_t{3} * size.height * size.width; }

  void normalise(std::size_t channel) {
    const std::size_t plane = image_floats() / 3;
    double squares = 0;
    for_each(plane, channel, [&](float& value) { squares += double{value} * value; });
    const auto deviation = static_cast<float>(std::sqrt(squares / double(plane * kPictures)));
    for_each(plane, channel, [&](float& value) { value /= deviation; });
  }

  void for_each(std::size_t plane, std::size_t channel, const auto& visit) {
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (i / plane % 3 == channel) visit(tensors[i]);
    }
  }

  TensorSize size{0, 0};
  std::vector<float> tensors;
};

// A model's plans beside the plain one.
class Comparison {
 public:
  Comparison(const Blob& model, const char* format)
      : coded_(format), module_(std::make_shared<FreezableModule>(load_module(model))) {}

  void check_all() {
    ASSERT_NE(score_difference(plain_, Scores{plain_.outputs, std::vector<float>(plain_.values.size())}), "")
        << "scores that do not vary would show nothing";
    for (const Recipe& recipe : openvino_recipes(module_, 2)) {
      for (std::size_t batch : {1, 8}) check(recipe, batch);
    }
    for (const Recipe& recipe : torch_recipes(module_)) check(recipe, 8);
    EXPECT_GE(right_, kHasOpenVino ? 8 : 4) << "no more than the two that optimise may be wrong";
  }

  void check_bf16() {
    const Scores scores = bf16_recipe(module_, 2).make(coded_.size, 8)->run({coded_.tensors.data(), kPictures}, 1);
    EXPECT_EQ(score_difference(plain_, scores, kBf16Tolerance), "");
    const Scores exact = openvino_recipes(module_, 2).front().make(coded_.size, 8)->run({coded_.tensors.data(), kPictures}, 1);
    EXPECT_NE(scores.values, exact.values) << "it did not compute in bfloat16";
  }

 private:
  void check(const Recipe& recipe, std::size_t batch) {
    SCOPED_TRACE(recipe.name + " in batches of " + std::to_string(batch));
    std::shared_ptr<Plan> plan;
    try {
      plan = recipe.make(coded_.size, batch);
    } catch (const std::exception& error) {
      EXPECT_FALSE(kHasOpenVino || recipe.engine == EngineChoice::libtorch) << error.what();
      return;
    }
    Scores scores = plan->run({coded_.tensors.data(), kPictures}, 1);
    std::string difference = score_difference(plain_, scores);
    if (difference.empty()) {
      if (recipe.engine == EngineChoice::openvino) {  // it takes the batch apart
        EXPECT_EQ(score_difference(plain_, plan->run({coded_.tensors.data(), kPictures}, 2)), "") << "on two threads";
      }
      ++right_;
    } else {
      Trial trial(*plain_plan_, coded_.size, 4, 1);
      EXPECT_NE(trial.check(*plan), "") << "a trial would not have seen that " << difference;
      EXPECT_EQ(recipe.engine, EngineChoice::libtorch) << difference;
    }
  }

  const Coded coded_;
  const std::shared_ptr<FreezableModule> module_;
  const std::shared_ptr<Plan> plain_plan_ = plain_recipe(module_).make(coded_.size, 1);
  const Scores plain_ = plain_plan_->run({coded_.tensors.data(), kPictures}, 1);
  int right_ = 0;
};

struct Case {
  const char* model;
  const char* format;
};

class EveryPlan : public testing::TestWithParam<Case> {};

TEST_P(EveryPlan, GivesThePlainScores) { Comparison(test::exported_model(GetParam().model), GetParam().format).check_all(); }

TEST_P(EveryPlan, InBf16IsNearPlain) {
  if (!has_bf16()) GTEST_SKIP() << "no OpenVINO, or a CPU without bfloat16";
  const std::string model = GetParam().model;
  if (model.starts_with("efficientnet") || model.starts_with("shufflenet")) GTEST_SKIP() << "untrained, it amplifies rounding";
  Comparison(test::exported_model(model), GetParam().format).check_bf16();
}

constexpr char kSmall[] = "1x1/b32/k3/q50@256";   // 24x24
constexpr char kLarge[] = "1x1/b128/k41/q50@256";  // 82x82

INSTANTIATE_TEST_SUITE_P(
    Networks, EveryPlan,
    testing::Values(Case{"mobilenet_v3_small-script", kSmall}, Case{"mobilenet_v3_small-trace", kSmall},
                    Case{"mobilenet_v3_small-script", kLarge}, Case{"resnet18-script", kSmall},
                    Case{"resnet18-trace", kLarge}, Case{"shufflenet_v2_x1_0-script", kLarge},
                    Case{"shufflenet_v2_x1_0-trace", kSmall}, Case{"efficientnet_b3-script", kSmall},
                    Case{"efficientnet_b3-trace", kSmall}, Case{"script", kSmall}, Case{"trace", kLarge},
                    Case{"frozen", kSmall}),
    [](const testing::TestParamInfo<Case>& tested) {
      std::string name = std::string(tested.param.model) + (tested.param.format == kSmall ? "-24" : "-82");
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

// As choices of several sizes make them, each for itself.
TEST(PlansOfOneModel, MayBeMadeAtOnce) {
  const auto module = std::make_shared<FreezableModule>(load_module(test::exported_model("script")));
  const Coded coded(kSmall);
  const Scores plain = plain_recipe(module).make(coded.size, 1)->run({coded.tensors.data(), kPictures}, 1);
  constexpr int kThreads = 4, kRounds = 3;
  std::vector<std::vector<std::string>> wrong(kThreads);
  {
    std::vector<std::jthread> threads;
    for (std::vector<std::string>& found : wrong) {
      threads.emplace_back([&] {
        for (int round = 0; round < kRounds; ++round) {
          for (const Recipe& recipe : torch_recipes(module)) {
            const Scores scores = recipe.make(coded.size, 8)->run({coded.tensors.data(), kPictures}, 1);
            const std::string difference = score_difference(plain, scores);
            if (!difference.empty()) found.push_back(recipe.name + ": " + difference);
          }
        }
      });
    }
  }
  for (const auto& found : wrong) EXPECT_EQ(found, std::vector<std::string>());
}

// The same for all the models of a folder that the environment names: scripts/torch2.sh makes some.
TEST(MoreModels, EveryPlanGivesThePlainScores) {
  const char* folder = std::getenv("IMAGECALC_MORE_MODELS");
  if (!folder) GTEST_SKIP() << "IMAGECALC_MORE_MODELS names no folder";
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".pt") continue;
    SCOPED_TRACE(entry.path().filename());
    std::cout << entry.path().filename() << std::endl;
    ++models;
    for (const char* format : {kSmall, kLarge}) Comparison(test::read_file(entry.path()), format).check_all();
  }
  EXPECT_GT(models, 0);
}

// An ONNX model's scores are those of the TorchScript that it was exported beside.
class OnnxModels : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(OnnxModels, GiveThePlainScoresOfTorchScript) {
  if (!kHasOpenVino) GTEST_SKIP() << "built without OpenVINO";
  const auto [net, script] = GetParam();
  for (const char* format : {kSmall, kLarge}) {
    SCOPED_TRACE(format);
    const Coded coded(format);
    auto module = std::make_shared<FreezableModule>(load_module(test::exported_model(script)));
    const Scores plain = plain_recipe(module).make(coded.size, 1)->run({coded.tensors.data(), kPictures}, 1);
    auto model = make_engine(2)->load(test::exported_onnx(net));
    for (EngineChoice asked : {EngineChoice::automatic, EngineChoice::libtorch, EngineChoice::openvino}) {
      for (int threads : {1, 2}) {
        const Scores scores = model->run({coded.tensors.data(), kPictures}, coded.size, threads, asked);
        EXPECT_EQ(score_difference(plain, scores), "");
        EXPECT_EQ(scores.engine, EngineChoice::openvino) << "there is no other";
      }
    }
    const std::size_t floats = coded.tensors.size() / kPictures;
    for (std::size_t i = 0; i < kPictures; ++i) {
      Scores one = model->run({coded.tensors.data() + i * floats, 1}, coded.size, 1);
      ASSERT_EQ(one.outputs, plain.outputs);
      for (std::size_t k = 0; k < one.outputs; ++k) EXPECT_NEAR(one.values[k], plain.values[i * one.outputs + k], 0.01);
    }
    for (const ChoiceReport& choice : model->describe().choices) {
      EXPECT_TRUE(choice.settled);
      EXPECT_EQ(choice.chosen.engine, EngineChoice::openvino);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, OnnxModels,
                         testing::Values(std::pair("small-cnn", "script"),
                                         std::pair("mobilenet_v3_small", "mobilenet_v3_small-script"),
                                         std::pair("resnet18", "resnet18-script"),
                                         std::pair("shufflenet_v2_x1_0", "shufflenet_v2_x1_0-script")),
                         [](const auto& tested) {
                           std::string name = tested.param.first;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// A model that an engine cannot take over.
std::string refusal_of(const ModelDescription& description, EngineChoice engine) {
  for (const PlanReport& plan : description.choices.at(0).plans) {
    if (plan.engine == engine && !plan.refusal.empty()) return plan.refusal;
  }
  return "";
}

ModelDescription settle(Model& model, const std::vector<float>& batch, std::size_t images, TensorSize size,
                        EngineChoice engine) {
  for (int calls = 0; calls < 50; ++calls) {
    model.run({batch.data(), images}, size, 1, engine);
    if (model.describe().choices.at(0).settled) break;
  }
  return model.describe();
}

TEST(Engines, WhatOpenVinoDoesNotKnowRunsOnLibTorch) {
  auto engine = make_engine();
  auto model = engine->load(test::scripted_model(
      "def forward(self, x):\n    return torch.matmul(torch.digamma(x.mean([2, 3]).abs() + 1), self.weight)\n"));
  std::vector<float> batch(2 * 3 * 8 * 8, 0.5f);
  ModelDescription description = settle(*model, batch, 2, {8, 8}, EngineChoice::openvino);
  EXPECT_EQ(description.choices.at(0).chosen.engine, EngineChoice::libtorch);
  std::string refusal = refusal_of(description, EngineChoice::openvino);
  EXPECT_EQ(refusal, kHasOpenVino ? "No conversion rule found for operations: aten::digamma"
                                  : "imagecalc-runner was built without OpenVINO");
}

TEST(Engines, ABranchOnPicturesIsNotSpecialised) {
  FreezableModule module(load_module(test::scripted_model(
      "def forward(self, x):\n"
      "    if bool(x.mean() > 0):\n        x = x[:, :, ::2]\n"
      "    x = torch.conv2d(x, torch.ones([3, 3, 3, 3]), None, [1, 1], [1, 1])\n"
      "    return torch.matmul(x.mean([2, 3]), self.weight)\n")), 0);
  auto recipes = torch_recipes(std::make_shared<FreezableModule>(module.plain(), 0));
  auto specialised =
      std::find_if(recipes.begin(), recipes.end(), [](const Recipe& recipe) { return recipe.name == "specialised"; });
  ASSERT_NE(specialised, recipes.end());
  EXPECT_THROW(specialised->make({2, 2}, 1), Error);
}

TEST(Engines, OneCanBeForced) {
  const Coded coded(kSmall);
  for (EngineChoice asked : {EngineChoice::libtorch, EngineChoice::openvino}) {
    auto model = make_engine(2)->load(test::exported_model("mobilenet_v3_small-script"));
    auto description = settle(*model, coded.tensors, 1, coded.size, asked);
    EXPECT_EQ(description.choices.at(0).chosen.engine, kHasOpenVino ? asked : EngineChoice::libtorch);
  }
}

TEST(Engines, ConcurrentCallersGetTheirOwnScores) {
  const Coded coded(kSmall);
  auto model = make_engine(2)->load(test::exported_model("mobilenet_v3_small-script"));
  const std::size_t floats = coded.tensors.size() / kPictures;
  std::vector<Scores> expected;
  for (std::size_t i = 0; i < kPictures; ++i) {
    expected.push_back(model->run({coded.tensors.data() + i * floats, 1}, coded.size, 1, EngineChoice::libtorch));
  }
  std::vector<std::jthread> callers;
  std::atomic<int> wrong = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    callers.emplace_back([&, i] {
      for (int round = 0; round < 50; ++round) {
        std::size_t first = (i + std::size_t(round)) % (kPictures - 1), images = 1 + i % 2;
        Scores scores = model->run({coded.tensors.data() + first * floats, images}, coded.size, 1 + int(i) / 2);
        for (std::size_t k = 0; k < scores.values.size(); ++k) {
          float plain = expected[first + k / scores.outputs].values[k % scores.outputs];
          if (!(std::abs(scores.values[k] - plain) < 0.01f)) ++wrong;
        }
      }
    });
  }
  callers.clear();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace imagecalc
