#include "runner/engine/choose.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

#include "runner/engine/trial.h"

namespace imagecalc {
namespace {

using namespace std::chrono_literals;

// What a made-up plan does. Its scores are the first pixel of each channel.
struct Behaviour {
  std::chrono::microseconds delay{0};
  std::size_t piece = 0;         // of images, for which it takes that long, whole or not; 0: all at once
  float factor = 1;              // anything else is wrong
  bool mixes_images = false;     // wrong for some batch sizes
  int fails_after = 1'000'000;   // runs
  int slow_runs = 0;             // its first ones, as on a machine that is busy then
  std::chrono::microseconds slow_delay{0};
  int lucky_every = 0;           // run of so many takes lucky_delay only
  std::chrono::microseconds lucky_delay{0};
  std::size_t memory = 0;
};

class MadeUpPlan : public Plan {
 public:
  MadeUpPlan(TensorSize size, Behaviour behaviour) : size_(size), behaviour_(behaviour) {}

  Scores run(const TensorBatch& given, int) override {
    const auto [batch, sent, images] = given;
    const int run = ++runs_;
    most_images_ = std::max(most_images_.load(), images);
    if (run > behaviour_.fails_after) throw Error(Fault::bad_model, "worn out");
    const std::size_t pieces = behaviour_.piece > 0 ? (images + behaviour_.piece - 1) / behaviour_.piece : 1;
    std::this_thread::sleep_for(pieces * delay_of(run));
    const std::size_t plane = std::size_t(size_.height) * size_.width;
    Scores scores{3, {}};
    for (std::size_t i = 0; i < 3 * images; ++i) scores.values.push_back(behaviour_.factor * batch[i * plane]);
    if (behaviour_.mixes_images && images % 2 == 1) scores.values[0] = scores.values.back();
    return scores;
  }
  std::size_t memory() const override { return behaviour_.memory; }
  std::size_t most_images() const { return most_images_; }  // of a run

 private:
  std::chrono::microseconds delay_of(int run) const {
    if (run <= behaviour_.slow_runs) return behaviour_.slow_delay;
    return behaviour_.lucky_every > 0 && run % behaviour_.lucky_every == 0 ? behaviour_.lucky_delay : behaviour_.delay;
  }

  const TensorSize size_;
  const Behaviour behaviour_;
  std::atomic<int> runs_ = 0;
  std::atomic<std::size_t> most_images_ = 0;
};

Recipe made_up(const char* name, Behaviour behaviour, EngineChoice engine = EngineChoice::libtorch, int* made = nullptr) {
  return {engine, name, [=](TensorSize size, std::size_t) {
            if (made) ++*made;
            return std::make_shared<MadeUpPlan>(size, behaviour);
          }};
}

Recipe impossible(const char* why) {
  return {EngineChoice::openvino, "impossible", [=](TensorSize, std::size_t) -> std::shared_ptr<Plan> {
            throw std::runtime_error(why);
          }};
}

constexpr TensorSize kSize{4, 4};
const Recipe kPlain = made_up("plain", {.delay = 2ms});

// Runs batches until every plan has been tried, and checks every answer.
ChoiceReport settle(Choices& choices, std::size_t images = 8, EngineChoice asked = EngineChoice::automatic) {
  std::vector<float> batch(images * 48);
  for (std::size_t i = 0; i < batch.size(); ++i) batch[i] = static_cast<float>(i);
  for (int calls = 0; calls < 50; ++calls) {
    Scores scores = choices.run({batch.data(), images}, kSize, 1, asked);
    EXPECT_EQ(scores.outputs, 3u);
    for (std::size_t i = 0; i < scores.values.size(); ++i) EXPECT_EQ(scores.values[i], batch[16 * i]);
    ChoiceReport report = choices.describe().choices.at(0);
    if (report.settled) return report;
  }
  ADD_FAILURE() << "no plan was chosen";
  return {};
}

std::string refusal_of(const ChoiceReport& report, const std::string& plan) {
  for (const PlanReport& tried : report.plans) {
    if (tried.plan == plan) return tried.refusal;
  }
  return "not tried";
}

TEST(Trial, ASlowModelIsTriedOnTwoImagesAtATime) {
  MadeUpPlan slow(kSize, {.delay = 20ms}), same(kSize, {}), other(kSize, {.factor = 1.1f});
  const Trial trial(slow, kSize, 8, 1, 16'000);  // three images take 20 ms: there is time for two
  ASSERT_TRUE(trial.can_compare());
  EXPECT_EQ(trial.check(same), "");
  EXPECT_NE(trial.check(other), "");
}

TEST(Trial, AFasterPlanIsTimedInLargerBatches) {
  MadeUpPlan slow(kSize, {.delay = 20ms}), fast(kSize, {.delay = 1ms});
  const Trial trial(slow, kSize, 8, 1, 16'000);
  const float us = trial.time(fast, 1e9f);
  EXPECT_GE(us, 1000 / 8);
  EXPECT_LT(us, 1000 / 2) << "an image, in twos";
}

TEST(Trial, APlanForEightAtOnceIsTimedWithEight) {
  MadeUpPlan slow(kSize, {.delay = 3ms, .piece = 1}), in_eights(kSize, {.delay = 8ms, .piece = 8});
  const Trial trial(slow, kSize, 32, 1, 5'000);  // one of the slow one's images at a time
  EXPECT_LT(trial.time(in_eights, 1e9f), 8000 / 5);
}

TEST(Trial, AVerySlowModelIsTimedWithOneImage) {
  MadeUpPlan slow(kSize, {.delay = 20ms, .piece = 1}), same(kSize, {.delay = 20ms, .piece = 1});
  const Trial trial(slow, kSize, 32, 1, 5'000);
  EXPECT_GE(trial.time(same, 1e9f), 20'000);
  EXPECT_EQ(same.most_images(), 1u);
}

TEST(Choices, TakesTheFastestThatIsRight) {
  Choices choices(kPlain, {made_up("slow", {.delay = 4ms}), made_up("fast", {.delay = 100us}),
                           made_up("wrong", {.factor = 1.02f}), made_up("mixing", {.mixes_images = true}),
                           made_up("worn out", {.fails_after = 0}), impossible("no such thing")});
  ChoiceReport report = settle(choices);
  EXPECT_EQ(report.chosen.plan, "fast");
  EXPECT_GE(report.chosen.us, 100 / 8);
  EXPECT_LT(report.chosen.us, 2000 / 8);
  ASSERT_EQ(report.plans.size(), 7u);
  EXPECT_EQ(refusal_of(report, "plain"), "");
  EXPECT_EQ(refusal_of(report, "slow"), "");
  EXPECT_EQ(refusal_of(report, "wrong").find("its scores are off by 1"), 0u) << refusal_of(report, "wrong");
  EXPECT_NE(refusal_of(report, "mixing"), "") << "right in batches of 8, but not of 7";
  EXPECT_EQ(refusal_of(report, "worn out"), "worn out");
  EXPECT_EQ(refusal_of(report, "impossible"), "no such thing");
}

// Two runs are checked and three are timed, which takes the 60 ms.
TEST(Choices, APlanThatWasTimedAtABadMomentIsTimedAgain) {
  Choices choices(made_up("plain", {.delay = 15ms}),
                  {made_up("unlucky", {.delay = 5ms, .slow_runs = 5, .slow_delay = 20ms}), made_up("slow", {.delay = 30ms})});
  const ChoiceReport report = settle(choices);
  EXPECT_EQ(report.chosen.plan, "unlucky");
  EXPECT_LT(report.chosen.us, 15000 / 8);
}

TEST(Choices, PlansThatComeCloseAreJudgedByWhatTheyUsuallyTake) {
  Choices choices(made_up("plain", {.delay = 20ms}),
                  {made_up("moody", {.delay = 28ms, .lucky_every = 3, .lucky_delay = 14ms})});
  const ChoiceReport report = settle(choices);
  ASSERT_EQ(report.plans.size(), 2u);
  EXPECT_EQ(report.chosen.plan, "plain");
  EXPECT_GE(report.plans[1].us, 28000 / 8) << "the median, not the best";
}

TEST(Choices, CountsTheMemoryOfThePlansThatItKeeps) {
  Choices choices(made_up("plain", {.delay = 2ms, .memory = 1}), {made_up("slow", {.delay = 4ms, .memory = 10}),
                                                                  made_up("fast", {.delay = 100us, .memory = 100})});
  EXPECT_EQ(choices.memory(), 0u);
  std::vector<float> image(48);
  choices.run({image.data(), 1}, kSize, 1, {});
  EXPECT_EQ(choices.memory(), 1u) << "the first call is the plain one's";
  settle(choices);
  EXPECT_EQ(choices.memory(), 1u + 1u + 100u) << "those for one image and for eight";
}

TEST(Choices, PlainIsBestWhereNothingIsFaster) {
  Choices choices(made_up("plain", {}), {made_up("slow", {.delay = 1ms})});
  EXPECT_EQ(settle(choices).chosen.plan, "plain");
}

TEST(Choices, ASizeThatComesOnceIsNotWorthAPlan) {
  int made = 0;
  Choices choices(kPlain, {made_up("fast", {}, EngineChoice::libtorch, &made)});
  std::vector<float> batch(48 * 100);
  for (int edge = 4; edge < 40; ++edge) choices.run({batch.data(), 1}, {4, edge}, 1, EngineChoice::automatic);
  EXPECT_EQ(made, 0);
  EXPECT_LE(choices.describe().choices.size(), 24u) << "what is known of sizes is bounded";
  choices.run({batch.data(), 1}, {4, 39}, 1, EngineChoice::automatic);
  EXPECT_EQ(made, 1);
}

TEST(Choices, EveryBatchSizeHasItsOwn) {
  Choices choices(kPlain, {made_up("fast", {})});
  EXPECT_EQ(settle(choices, 1).batch, 1u);
  EXPECT_EQ(settle(choices, 5).batch, 8u);
  EXPECT_EQ(settle(choices, 33).batch, 32u);
  EXPECT_EQ(settle(choices, 100).batch, 128u);
  EXPECT_EQ(choices.describe().choices.size(), 4u);
}

TEST(Choices, AnEngineCanBeAskedFor) {
  Choices choices(kPlain, {made_up("theirs", {.delay = 5ms}, EngineChoice::openvino), made_up("ours", {})});
  EXPECT_EQ(settle(choices, 8).chosen.plan, "ours");
  ChoiceReport theirs = settle(choices, 8, EngineChoice::openvino);
  EXPECT_EQ(theirs.chosen.plan, "theirs") << "slower, but asked for";
  EXPECT_EQ(refusal_of(theirs, "ours"), "not tried");
  ChoiceReport ours = settle(choices, 8, EngineChoice::libtorch);
  EXPECT_EQ(ours.chosen.plan, "ours");
  EXPECT_EQ(refusal_of(ours, "theirs"), "not tried");
}

TEST(Choices, Bf16IsForThoseWhoAllowIt) {
  Recipe rounds = made_up("rounds", {.factor = 1.004f}, EngineChoice::openvino);
  Recipe rounds_too_much = made_up("rounds too much", {.factor = 1.2f}, EngineChoice::openvino);
  rounds.bf16 = rounds_too_much.bf16 = true;
  rounds.tolerance = rounds_too_much.tolerance = kBf16Tolerance;
  Choices choices(kPlain, {rounds, rounds_too_much, made_up("exact", {.delay = 1ms})});
  EXPECT_EQ(settle(choices).chosen.plan, "exact");
  EXPECT_EQ(settle(choices, 8, EngineChoice::openvino).chosen.plan, "plain") << "it was not allowed";

  std::vector<float> batch(8 * 48, 1);
  const Wish wish{EngineChoice::automatic, true};
  for (int calls = 0; calls < 20; ++calls) choices.run({batch.data(), 8}, kSize, 1, wish);
  const ChoiceReport report = choices.describe().choices.at(0);
  EXPECT_EQ(report.asked, wish);
  EXPECT_EQ(report.chosen.plan, "rounds");
  EXPECT_EQ(refusal_of(report, "rounds too much").find("its scores are off by "), 0u);
  EXPECT_EQ(choices.describe().choices.size(), 3u) << "each wish has its own choice";
  EXPECT_EQ(choices.run({batch.data(), 8}, kSize, 1, EngineChoice::automatic).values[0], 1) << "who did not allow it is exact";
  EXPECT_EQ(choices.run({batch.data(), 8}, kSize, 1, wish).values[0], 1.004f);
}

TEST(Choices, WithoutRecipesThePlainPlanRunsAtOnce) {
  int made = 0;
  Choices choices(made_up("only", {}, EngineChoice::openvino, &made), {});
  const ChoiceReport report = settle(choices, 8, EngineChoice::libtorch);
  EXPECT_EQ(report.chosen.plan, "only");
  EXPECT_EQ(report.chosen.engine, EngineChoice::openvino);
  EXPECT_EQ(report.chosen.us, 0) << "there is nothing to compare with";
  settle(choices, 8, EngineChoice::libtorch);
  EXPECT_EQ(made, 1);
}

TEST(Choices, AnEngineThatCannotLeavesItToLibTorch) {
  Choices choices(kPlain, {impossible("an unknown operation"), made_up("ours", {})});
  ChoiceReport report = settle(choices, 8, EngineChoice::openvino);
  EXPECT_EQ(report.chosen.plan, "plain");
  EXPECT_EQ(refusal_of(report, "impossible"), "an unknown operation");
}

TEST(Choices, APlanThatFailsLaterIsDropped) {
  Choices choices(kPlain, {made_up("tiring", {.delay = 500us, .fails_after = 400})});
  EXPECT_EQ(settle(choices).chosen.plan, "tiring");
  std::vector<float> batch(48 * 8);
  for (int i = 0; i < 500; ++i) choices.run({batch.data(), 8}, kSize, 1, EngineChoice::automatic);
  ChoiceReport report = choices.describe().choices.at(0);
  EXPECT_EQ(report.chosen.plan, "plain");
  EXPECT_EQ(refusal_of(report, "tiring"), "it failed: worn out");
}

TEST(Choices, ScoresThatDoNotVaryProveNothing) {
  Choices choices(made_up("plain", {.factor = 0}), {made_up("fast", {.factor = 0})});
  std::vector<float> batch(48);
  for (int i = 0; i < 3; ++i) choices.run({batch.data(), 1}, kSize, 1, EngineChoice::automatic);
  ChoiceReport report = choices.describe().choices.at(0);
  EXPECT_TRUE(report.settled);
  EXPECT_EQ(report.chosen.plan, "plain");
  EXPECT_NE(report.chosen.refusal, "");
}

TEST(Choices, OthersDoNotWaitForATrial) {
  Choices choices(made_up("plain", {.delay = 1ms}), {made_up("slow", {.delay = 150ms})});
  std::vector<float> batch(48 * 8);
  auto call = [&] { choices.run({batch.data(), 8}, kSize, 1, EngineChoice::automatic); };
  call();
  std::jthread trying(call);
  std::this_thread::sleep_for(100ms);
  auto start = std::chrono::steady_clock::now();
  call();
  EXPECT_LT(std::chrono::steady_clock::now() - start, 100ms);
}

TEST(ScoreDifference, IsMeasuredByHowFarScoresVary) {
  Scores plain{2, {1000, 5, 1001, 5}};
  EXPECT_EQ(score_difference(plain, plain), "");
  EXPECT_EQ(score_difference(plain, {2, {1000, 5, 1001.001f, 5}}), "");
  EXPECT_EQ(score_difference(plain, {2, {1000, 5, 1001, 5.1f}}),
            "its scores are off by 10 % of the range of plain LibTorch's");
  EXPECT_EQ(score_difference(plain, {1, {1000, 5, 1001, 5}}), "it gives 1 scores an image instead of 2");
  EXPECT_EQ(score_difference(plain, {2, {1000, 5, NAN, 5}}), "its scores are not all finite");
}

}  // namespace
}  // namespace imagecalc
