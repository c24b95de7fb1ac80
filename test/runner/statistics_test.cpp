#include "runner/statistics.h"

#include <gtest/gtest.h>

namespace imagecalc {
namespace {

class NamedModel : public Model {
 public:
  explicit NamedModel(std::vector<ChoiceReport> choices = {}) : choices_(std::move(choices)) {}
  Scores run(const TensorBatch&, TensorSize, int, Wish) override { return {}; }
  ModelDescription describe() const override { return {choices_}; }
  std::size_t memory() const override { return 0; }

 private:
  const std::vector<ChoiceReport> choices_;
};

constexpr ModelHash kOne{1}, kTwo{2};

std::vector<ModelCache::Held> held(std::initializer_list<ModelHash> hashes) {
  std::vector<ModelCache::Held> models;
  for (const ModelHash& hash : hashes) models.push_back({hash, std::make_shared<NamedModel>(), 100});
  return models;
}

InferReply reply_with(float decode_us, float model_us, std::size_t failures) {
  InferReply reply;
  reply.decode_us = decode_us;
  reply.model_us = model_us;
  reply.failures.resize(failures);
  return reply;
}

TEST(Statistics, PercentilesAreOfTheNearestRank) {
  Counters counters;
  EXPECT_EQ(counters.read().request.p50_us, 0);
  counters.add({}, 1, 7);
  EXPECT_EQ(counters.read().request.p50_us, 7);
  EXPECT_EQ(counters.read().request.p99_us, 7);
  counters = {};
  for (int us = 200; us >= 1; --us) counters.add({}, 1, static_cast<float>(us));
  EXPECT_EQ(counters.read().request.p50_us, 100);
  EXPECT_EQ(counters.read().request.p95_us, 190);
  EXPECT_EQ(counters.read().request.p99_us, 198);
}

TEST(Statistics, PercentilesAreOfTheLastRequests) {
  Counters counters;
  for (int i = 0; i < 1000; ++i) counters.add({}, 1, 1e6f);
  for (int i = 0; i < 1024; ++i) counters.add({}, 1, 5);
  EXPECT_EQ(counters.read().request.p99_us, 5);
  EXPECT_EQ(counters.read().requests, 2024u);
}

TEST(Statistics, CountsByModelUntilReset) {
  Statistics statistics;
  statistics.record(kOne, reply_with(2, 10, 1), 3, 50);
  statistics.record(kOne, reply_with(3, 20, 0), 4, 60);
  statistics.record(kTwo, reply_with(4, 30, 0), 5, 70);
  StatisticsReply reply;
  statistics.report(held({kTwo, kOne}), reply);
  EXPECT_EQ(reply.served.requests, 3u);
  EXPECT_EQ(reply.served.images, 12u);
  ASSERT_EQ(reply.models.size(), 2u);
  EXPECT_EQ(reply.models[0].model, kTwo);
  EXPECT_EQ(reply.models[1].served.requests, 2u);
  EXPECT_EQ(reply.models[1].served.images, 7u);
  EXPECT_EQ(reply.models[1].served.failures, 1u);
  EXPECT_EQ(reply.models[1].served.decode_us, 5);
  EXPECT_EQ(reply.models[1].served.model_us, 30);
  EXPECT_EQ(reply.models[1].served.request.p95_us, 60);

  statistics.reset();
  StatisticsReply after;
  statistics.report(held({kTwo, kOne}), after);
  EXPECT_EQ(after.served.requests, 0u);
  EXPECT_EQ(after.models.at(1).served.images, 0u);
  EXPECT_LE(after.since_reset_us, after.uptime_us);
}

TEST(Statistics, ModelsThatLeftTheCacheAreForgotten) {
  Statistics statistics;
  statistics.record(kOne, {}, 1, 1);
  StatisticsReply without, back;
  statistics.report(held({kTwo}), without);
  EXPECT_EQ(without.models.size(), 1u);
  EXPECT_EQ(without.served.requests, 1u) << "it was served all the same";
  statistics.report(held({kOne}), back);
  EXPECT_EQ(back.models.at(0).served.requests, 0u);
}

TEST(Statistics, ShowsEveryPlanAndWhichIsChosen) {
  const PlanReport plain{EngineChoice::libtorch, "plain", 100, {}};
  const PlanReport wrong{EngineChoice::libtorch, "frozen", 0, "it is wrong"};
  const PlanReport fast{EngineChoice::openvino, "openvino", 10, {}};
  const ChoiceReport tried{{24, 32}, 8, EngineChoice::automatic, true, fast, {plain, wrong, fast}};
  const ChoiceReport fresh{{82, 82}, 1, EngineChoice::libtorch, false, {EngineChoice::libtorch, "plain", 0, {}}, {}};
  Statistics statistics;
  StatisticsReply reply;
  statistics.report({{kOne, std::make_shared<NamedModel>(std::vector{tried, fresh}), 100}}, reply);
  const auto& plans = reply.models.at(0).plans;
  ASSERT_EQ(plans.size(), 4u);
  EXPECT_EQ(plans[0].size.width, 32u);
  EXPECT_FALSE(plans[0].chosen);
  EXPECT_EQ(plans[1].refusal, "it is wrong");
  EXPECT_TRUE(plans[2].chosen);
  EXPECT_EQ(plans[2].engine, EngineChoice::openvino);
  EXPECT_EQ(plans[3].size.height, 82u);
  EXPECT_TRUE(plans[3].chosen);
  EXPECT_FALSE(plans[3].settled);
}

}  // namespace
}  // namespace imagecalc
