#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "models.h"
#include "pictures.h"
#include "runner/engine/openvino_plan.h"
#include "runner_process.h"

namespace imagecalc {
namespace {

using namespace std::chrono_literals;
using test::TrainingRunner;

constexpr std::uint32_t kClasses = 4;

// Two colours of noise and two directions of stripes: classes that a small network tells apart in a few epochs.
Picture drawn_class(std::uint32_t label, unsigned seed) {
  Picture picture = test::drawn_picture(64, 64, 3, seed);
  for (int y = 0; y < 64; ++y) {
    for (int x = 0; x < 64; ++x) {
      std::uint8_t* pixel = &picture.samples[(std::size_t(y) * 64 + x) * 3];
      bool stripe = (label % 2 ? x : y) / 8 % 2;
      pixel[label / 2] = static_cast<std::uint8_t>(stripe ? 250 - seed % 40 : pixel[label / 2] / 4);
    }
  }
  return picture;
}

AddImages drawn_images() {
  AddImages images;
  for (unsigned i = 0; i < 280; ++i)
    images.images.push_back({write_jpeg(drawn_class(i % kClasses, i), 90), i % kClasses, i >= 200});
  return images;
}

// 200 photographs of the weather to train on and 80 to validate, or drawn ones where they are absent.
const AddImages& images() {
  static const AddImages images = [] {
    auto folder = test::data_folder() / "weather";
    std::ifstream index(folder / "labels.csv");
    std::map<std::string, std::uint32_t> classes{{"cloudy", 0}, {"rain", 1}, {"shine", 2}, {"sunrise", 3}};
    std::vector<AddImages::Image> split[2];
    std::string line;
    for (std::getline(index, line); std::getline(index, line);) {
      std::string name, label, part;
      std::istringstream fields(line);
      std::getline(std::getline(std::getline(fields, name, ','), label, ','), part, ',');
      bool validation = part.starts_with("validation");
      split[validation].push_back({test::read_file(folder / name), classes.at(label), validation});
    }
    if (split[0].empty()) {
      std::cout << "[   DATA   ] " << folder << " has no pictures: drawing some\n";
      return drawn_images();
    }
    AddImages chosen;
    for (std::size_t i = 0; i < 200; ++i) chosen.images.push_back(split[0][i * split[0].size() / 200]);
    for (std::size_t i = 0; i < 80; ++i) chosen.images.push_back(split[1][i * split[1].size() / 80]);
    return chosen;
  }();
  return images;
}

TrainSetup setup_for(const Blob& model) {
  TrainSetup setup;
  setup.model = model;
  setup.classes = kClasses;
  setup.size = 64;
  setup.threads = 2;
  setup.batch_size = 20;
  setup.max_pixels = 100'000'000;
  setup.device = parse_device("cpu");
  return setup;
}

Train train_for(const char* input, std::uint32_t epochs) {
  Train train;
  train.input = parse_model_input(input);
  train.epochs = epochs;
  train.seed = 1;
  return train;
}

template <typename Reply>
Reply expect_reply(Message message) {
  if (auto* failure = std::get_if<Failure>(&message)) ADD_FAILURE() << failure->message << " | " << failure->hint;
  return std::get<Reply>(std::move(message));
}

Failure expect_failure(const Message& message) {
  auto* failure = std::get_if<Failure>(&message);
  if (!failure) ADD_FAILURE() << "an answer of kind " << message.index() << " instead of a failure";
  return failure ? *failure : Failure{};
}

void set_up(TrainingRunner& runner, const TrainSetup& setup, std::uint32_t at_once = 1) {
  EXPECT_EQ(expect_reply<TrainReady>(runner.ask(setup)).at_once, at_once);
  auto reply = expect_reply<AddReply>(runner.ask(images()));
  EXPECT_EQ(reply.training, 200u);
  EXPECT_EQ(reply.validation, 80u);
  EXPECT_TRUE(reply.rejected.empty());
}

TEST(Training, LearnsAndRepeatsItselfAndHandsDown) {
  TrainingRunner runner;
  set_up(runner, setup_for(test::exported_model("script")));
  Train request = train_for("1x1/b8/k3/q20@64", 8);
  std::vector<Progress> steps;
  auto first = expect_reply<TrainReply>(runner.ask(request, [&](const Progress& progress) { steps.push_back(progress); }));
  EXPECT_GT(first.accuracy, 0.6) << "chance is 0.25";
  EXPECT_LE(first.accuracy, 1);
  EXPECT_EQ(first.top5_accuracy, 1) << "there are four classes";
  EXPECT_GT(first.seconds, 0);
  ASSERT_EQ(steps.size(), 8u);
  EXPECT_EQ(steps.back().step, 8u);
  EXPECT_EQ(steps.back().steps, 8u);
  EXPECT_LT(steps.back().loss, steps.front().loss);

  auto second = expect_reply<TrainReply>(runner.ask(request));
  EXPECT_EQ(second.accuracy, first.accuracy);
  EXPECT_EQ(second.loss, first.loss);
  EXPECT_EQ(second.weights, first.weights);

  Train untrained = train_for("1x1/b8/k3/q20@64", 0);
  EXPECT_LT(expect_reply<TrainReply>(runner.ask(untrained)).accuracy, first.accuracy);
  untrained.start_from = first.weights;
  untrained.try_bf16 = true;
  auto handed_down = expect_reply<TrainReply>(runner.ask(untrained));
  EXPECT_EQ(handed_down.accuracy, first.accuracy) << "the weights carry what was learned";
  EXPECT_FALSE(first.bf16_accuracy) << "it was not asked for";
  EXPECT_EQ(handed_down.bf16_accuracy.has_value(), has_bf16());
  if (handed_down.bf16_accuracy) {
    EXPECT_NEAR(*handed_down.bf16_accuracy, first.accuracy, 0.05);
  }
}

// Many pictures of the first class to train on and few of the others, which alone are to be told apart.
AddImages unbalanced_images() {
  AddImages chosen;
  std::map<std::uint32_t, int> seen;
  for (const AddImages::Image& image : images().images) {
    if (image.validation ? image.label > 0 : image.label == 0 || seen[image.label]++ < 6) chosen.images.push_back(image);
  }
  return chosen;
}

TEST(Training, StopsHalfwayWhereItCannotReachWhatIsNeeded) {
  TrainingRunner runner;
  set_up(runner, setup_for(test::exported_model("script")));
  Train request = train_for("1x1/b8/k3/q20@64", 5);
  const auto whole = expect_reply<TrainReply>(runner.ask(request));
  EXPECT_EQ(whole.epochs, 5u);
  EXPECT_FALSE(whole.halfway_accuracy.has_value());

  request.least_halfway = 0;
  const auto watched = expect_reply<TrainReply>(runner.ask(request));
  EXPECT_EQ(watched.epochs, 5u);
  EXPECT_EQ(watched.weights, whole.weights) << "looking changes nothing";
  ASSERT_TRUE(watched.halfway_accuracy.has_value());

  request.least_halfway = *watched.halfway_accuracy + 0.001f;
  const auto stopped = expect_reply<TrainReply>(runner.ask(request));
  EXPECT_EQ(stopped.epochs, 2u);
  EXPECT_EQ(stopped.accuracy, *watched.halfway_accuracy);
  EXPECT_EQ(stopped.halfway_accuracy, watched.halfway_accuracy);
  EXPECT_NE(stopped.weights, whole.weights);

  request.epochs = 1;
  EXPECT_FALSE(expect_reply<TrainReply>(runner.ask(request)).halfway_accuracy.has_value()) << "one has no half";
}

TEST(Training, LearnsBehindAStemAndHandsItDown) {
  TrainingRunner runner;
  set_up(runner, setup_for(test::exported_model("script")));
  Train request = train_for("1x1/b8/k4/q20@64", 12);
  request.stem = 4;
  const auto first = expect_reply<TrainReply>(runner.ask(request));
  EXPECT_GT(first.accuracy, 0.5f) << "far better than one in four";
  EXPECT_EQ(expect_reply<TrainReply>(runner.ask(request)).weights, first.weights) << "seeded";

  request.epochs = 1;
  const float fresh = expect_reply<TrainReply>(runner.ask(request)).loss;
  request.start_from = first.weights;
  EXPECT_LT(expect_reply<TrainReply>(runner.ask(request)).loss, fresh);

  set_up(runner, setup_for(test::tiny_model()));
  request.start_from.reset();
  EXPECT_EQ(expect_failure(runner.ask(request)).message,
            "the model's first convolution cannot be replaced by a stem: it has none");
}

TEST(Training, ARareClassCountsAsMuchWhereClassesAreBalanced) {
  double accuracy[2];
  for (bool balanced : {false, true}) {
    TrainingRunner runner;
    TrainSetup setup = setup_for(test::exported_model("script"));
    setup.balanced = balanced;
    expect_reply<TrainReady>(runner.ask(setup));
    expect_reply<AddReply>(runner.ask(unbalanced_images()));
    accuracy[balanced] = expect_reply<TrainReply>(runner.ask(train_for("1x1/b8/k3/q20@64", 10))).accuracy;
  }
  EXPECT_GT(accuracy[true], accuracy[false]);
}

// Of formats whose coefficients can be mirrored, of others, and of pixels.
TEST(Training, LearnsWithoutCrops) {
  std::map<std::string, std::set<Blob>> weights;
  for (Augmentation augmentation : {Augmentation::crop, Augmentation::flip, Augmentation::none}) {
    TrainingRunner runner;
    TrainSetup setup = setup_for(test::exported_model("script"));
    setup.augmentation = augmentation;
    set_up(runner, setup);
    for (const char* format : {"1x1/b8/k3/q20@64", "2x2c/b16/k4/q10@64", "4x4/b64/k12/q10@64", "rgb@32"}) {
      const auto first = expect_reply<TrainReply>(runner.ask(train_for(format, 8)));
      EXPECT_GT(first.accuracy, 0.5) << format << " " << to_string(augmentation);
      EXPECT_EQ(expect_reply<TrainReply>(runner.ask(train_for(format, 8))).weights, first.weights) << format;
      weights[format].insert(first.weights);
    }
  }
  for (const auto& [format, each] : weights) EXPECT_EQ(each.size(), 3u) << format << ": each augmentation trains otherwise";
}

TEST(Training, ReadsRgbToo) {
  TrainingRunner runner;
  set_up(runner, setup_for(test::exported_model("script")));
  auto reply = expect_reply<TrainReply>(runner.ask(train_for("rgb@32", 6)));
  EXPECT_GT(reply.accuracy, 0.5);
  for (int c = 0; c < 3; ++c) {
    EXPECT_GT(reply.normalisation.mean[c], 0.05);
    EXPECT_LT(reply.normalisation.mean[c], 0.95);
  }
}

// The CPU in the place of two GPUs.
const std::vector<std::string> kTwoDevices{"--device-plugin", IMAGECALC_HOST_DEVICE};

TEST(TrainingOnDevices, TrainsOneOnEachAtATime) {
  TrainSetup setup = setup_for(test::exported_model("script"));
  TrainingRunner alone;
  set_up(alone, setup);
  const Train request = train_for("1x1/b8/k3/q20@64", 4);
  const auto on_cpu = expect_reply<TrainReply>(alone.ask(request));

  setup.device = parse_device("auto");
  TrainingRunner runner(kTwoDevices);
  set_up(runner, setup, 2);
  Train first = request, second = train_for("1x1/b8/k2/q20@64", 6), third = train_for("1x1/b8/k2/q20@64", 4);
  first.more_follow = second.more_follow = true;
  second.try_bf16 = true;
  third.stem = 5;
  Channel& channel = runner.conversation().channel();
  channel.send(first);
  channel.send(second);
  std::vector<Progress> steps;
  auto reply = expect_reply<TrainReply>(runner.ask(third, [&](const Progress& progress) { steps.push_back(progress); }));
  EXPECT_EQ(reply.epochs, 4u);
  EXPECT_NEAR(reply.accuracy, on_cpu.accuracy, 0.2) << "on one thread";
  EXPECT_GT(reply.accuracy, 0.4) << "chance is 0.25";
  ASSERT_EQ(steps.size(), 10u) << "the third does not begin";
  EXPECT_EQ(steps.back().step, 10u);
  EXPECT_EQ(steps.back().steps, 14u) << "of all three";
  reply = expect_reply<TrainReply>(*channel.receive());
  EXPECT_EQ(reply.epochs, 6u);
  EXPECT_EQ(reply.bf16_accuracy.has_value(), has_bf16());
  EXPECT_FALSE(reply.weights.empty());
  const Failure failure = expect_failure(*channel.receive());
  EXPECT_NE(failure.message.find("stem"), std::string::npos) << failure.message;

  Train untrained = train_for("1x1/b8/k2/q20@64", 0);
  untrained.start_from = reply.weights;
  EXPECT_EQ(expect_reply<TrainReply>(runner.ask(untrained)).accuracy, reply.accuracy) << "what one has learned another goes on with";
}

TEST(TrainingOnDevices, AreThoseThatWereAskedFor) {
  TrainSetup setup = setup_for(test::exported_model("script"));
  for (auto [choice, at_once] : {std::pair("cpu", 1u), std::pair("cuda", 2u), std::pair("cuda:1", 1u), std::pair("auto", 2u)}) {
    setup.device = parse_device(choice);
    TrainingRunner runner(kTwoDevices);
    EXPECT_EQ(expect_reply<TrainReady>(runner.ask(setup)).at_once, at_once) << choice;
  }
  setup.device = parse_device("cuda");
  TrainingRunner without({"--device-plugin", "/nowhere"});
  const Failure failure = expect_failure(without.ask(setup));
  EXPECT_EQ(failure.fault, Fault::no_device);
  EXPECT_NE(failure.message.find("built without CUDA"), std::string::npos) << failure.message;
}

TEST(Training, RefusesModelsThatDoNotFit) {
  TrainingRunner runner;
  EXPECT_EQ(expect_failure(runner.ask(images())).fault, Fault::protocol) << "the setup comes first";
  EXPECT_EQ(expect_failure(runner.ask(setup_for(Blob(100, 1)))).fault, Fault::bad_model);
  Failure frozen = expect_failure(runner.ask(setup_for(test::exported_model("frozen"))));
  EXPECT_EQ(frozen.fault, Fault::bad_model);
  EXPECT_FALSE(frozen.hint.empty());

  TrainSetup setup = setup_for(test::tiny_model());
  setup.classes = 5;
  set_up(runner, setup);
  Failure outputs = expect_failure(runner.ask(train_for("1x1/b8/k1/q20@64", 1)));
  EXPECT_EQ(outputs.fault, Fault::bad_model);
  EXPECT_EQ(outputs.message, "the model gives 4 scores, but the data has 5 classes");
  EXPECT_EQ(expect_failure(runner.ask(train_for("1x1/b8/k1/q20", 1))).fault, Fault::invalid_argument);
}

TEST(Training, DivergenceIsAFailure) {
  TrainingRunner runner;
  TrainSetup setup = setup_for(test::scripted_model(
      "def forward(self, x):\n    return torch.matmul(x.mean([2, 3]), self.weight) * (self.weight.sum() ** 4)\n"));
  setup.learning_rate = 1e6f;
  set_up(runner, setup);
  Failure failure = expect_failure(runner.ask(train_for("1x1/b8/k1/q20@64", 5)));
  EXPECT_EQ(failure.fault, Fault::invalid_argument);
  EXPECT_EQ(failure.message.find("training diverged"), 0u) << failure.message;
  EXPECT_NE(failure.hint.find("learning_rate"), std::string::npos);
}

TEST(Training, MeasuresStorage) {
  TrainingRunner runner;
  set_up(runner, setup_for(test::tiny_model()));
  std::uint32_t last = 0;
  auto reply = expect_reply<StorageReply>(runner.ask(MeasureStorage{4, 3}, [&](const Progress& progress) {
    EXPECT_EQ(progress.step, ++last);
    EXPECT_EQ(progress.steps, 4 + 4 + 200u) << "the sample, twice, and all";
  }));
  EXPECT_EQ(last, 208u);
  ASSERT_EQ(reply.mean_bytes.size(), 6048u);
  double bytes[3] = {0, 0, 0};  // for the quantizers 20, 50 and 100
  for (std::size_t i = 0; i < reply.mean_bytes.size(); ++i) {
    EXPECT_GT(reply.mean_bytes[i], 24);
    bytes[i % 3] += reply.mean_bytes[i];
  }
  EXPECT_GT(bytes[0], 1.1 * bytes[1]);
  EXPECT_GT(bytes[1], 1.1 * bytes[2]);
}

TEST(Training, EndsSoonAfterItsParentHangsUp) {
  TrainingRunner runner;
  set_up(runner, setup_for(test::exported_model("script")));
  runner.conversation().channel().send(train_for("1x1/b8/k8/q20@64", 10000));
  ASSERT_TRUE(runner.conversation().channel().receive().has_value()) << "the first epoch's progress";
  runner.hang_up();
  auto status = runner.child().wait(3s);
  ASSERT_TRUE(status.has_value());
  EXPECT_TRUE(WIFEXITED(*status)) << "it left by itself";
}

}  // namespace
}  // namespace imagecalc
