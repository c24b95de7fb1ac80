// The accuracy model, on made-up functions of formats.
#include "design/accuracy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

#include "format/error.h"

namespace imagecalc {
namespace {

using Truth = std::function<double(const AccuracySample&)>;

// Formats all over the space, with about the bytes that they would take.
std::vector<AccuracySample> drawn_formats(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  const std::vector<Format> space = design_space(128);
  std::vector<AccuracySample> samples(count);
  for (AccuracySample& sample : samples) {
    sample.format = space[random() % space.size()];
    const Geometry shape = geometry(sample.format, 128, 128);
    sample.bytes = 30 + 0.2 * double(shape.tensor_area()) / std::sqrt(sample.format.quantizer / 20.0);
  }
  return samples;
}

void measure(std::vector<AccuracySample>& samples, const Truth& truth, double noise, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  for (AccuracySample& sample : samples) sample.accuracy = truth(sample) + noise * normal(random);
}

// Better with more bytes, up to a point, and with a finer quantizer.
double smooth(const AccuracySample& sample) {
  return 0.7 + 0.15 * std::tanh(std::log2(sample.bytes) / 3 - 3) - 0.02 * std::log2(sample.format.quantizer / 20.0);
}

TEST(AccuracyModel, LearnsASmoothFunctionOfTheFormat) {
  auto samples = drawn_formats(30, 1), others = drawn_formats(200, 2);
  measure(samples, smooth, 0, 0);
  const AccuracyModel model(samples);
  double error = 0, spread = 0;
  for (const AccuracySample& other : others) {
    error += std::abs(model.predict(other.format, other.stem, other.bytes).mean - smooth(other)) / 200;
    spread += std::abs(smooth(other) - 0.7) / 200;
  }
  EXPECT_LT(error, 0.2 * spread);
}

TEST(AccuracyModel, KnowsWhereItKnowsLittle) {
  auto samples = drawn_formats(40, 3);
  std::erase_if(samples, [](const AccuracySample& sample) { return sample.format.quantizer == 100 || sample.bytes > 2000; });
  measure(samples, smooth, 0.01, 4);
  const AccuracyModel model(samples);
  const AccuracySample& known = samples.front();
  const double near = model.predict(known.format, known.stem, known.bytes).deviation;
  EXPECT_GT(near, 0);
  EXPECT_GT(model.predict(parse_format("4x4/b8/k8/q100@128"), false, 4000).deviation, 1.5 * near);
}

TEST(AccuracyModel, NineOfTenTrainingsAreWithinItsInterval) {
  for (unsigned seed : {10u, 20u, 30u}) {
    auto samples = drawn_formats(30, seed), others = drawn_formats(300, seed + 1);
    measure(samples, smooth, 0.025, seed + 2);
    measure(others, smooth, 0.025, seed + 3);
    const AccuracyModel model(samples);
    int within = 0;
    for (const AccuracySample& other : others) {
      const auto estimate = model.predict(other.format, other.stem, other.bytes);
      within += estimate.low < other.accuracy && other.accuracy < estimate.high;
    }
    EXPECT_GT(within, 0.75 * 300) << seed;
    EXPECT_LT(within, 0.99 * 300) << seed;
  }
}

double mean_seed_deviation(const std::vector<AccuracySample>& samples) {
  const AccuracyModel model(samples);
  double sum = 0;
  for (const AccuracySample& sample : samples) sum += model.predict(sample.format, sample.stem, sample.bytes).seed_deviation;
  return sum / static_cast<double>(samples.size());
}

// Of two trainings at 98 % that differ by 2 points one makes twice as many errors; at 50 % that would be noise.
TEST(AccuracyModel, IsSurerOfHighAccuracies) {
  auto samples = drawn_formats(36, 18);
  measure(samples, [](const AccuracySample& sample) { return sample.bytes > 500 ? 0.98 : 0.5; }, 0, 0);
  const AccuracyModel model(samples);
  const auto [low, high] = std::minmax_element(samples.begin(), samples.end(),
                                               [](const auto& a, const auto& b) { return a.accuracy < b.accuracy; });
  EXPECT_LT(model.predict(high->format, false, high->bytes).seed_deviation,
            0.6 * model.predict(low->format, false, low->bytes).seed_deviation);
  for (const AccuracySample& other : drawn_formats(200, 19)) {
    const auto estimate = model.predict(other.format, other.stem, other.bytes);
    EXPECT_GT(estimate.deviation, 0);
    EXPECT_LT(estimate.low, estimate.high);
  }
}

TEST(AccuracyModel, TellsTheSeedsNoiseFromTheFormats) {
  auto samples = drawn_formats(36, 5);
  measure(samples, smooth, 0.03, 6);
  EXPECT_NEAR(mean_seed_deviation(samples), 0.03, 0.015);
  measure(samples, smooth, 0, 0);
  EXPECT_LT(mean_seed_deviation(samples), 0.02);
}

TEST(AccuracyModel, PredictsTrainingsFromTheFilesWeights) {
  auto samples = drawn_formats(30, 7);
  measure(samples, smooth, 0.005, 8);
  for (std::size_t i = 4; i < samples.size(); ++i) {
    samples[i].handed_down = true;
    samples[i].accuracy -= 0.05;  // what handing down costs
  }
  const AccuracyModel model(samples);
  double error = 0;
  for (const AccuracySample& other : drawn_formats(200, 9)) {
    error += (model.predict(other.format, other.stem, other.bytes).mean - smooth(other)) / 200;
  }
  EXPECT_GT(error, -0.025) << "most of the 0.05 is made up for";
}

TEST(AccuracyModel, LearnsWhatAStemIsWorth) {
  auto samples = drawn_formats(40, 15), others = drawn_formats(100, 16);
  for (std::size_t i = 0; i < samples.size(); i += 2) samples[i].stem = true;
  measure(samples, [](const AccuracySample& sample) { return smooth(sample) + (sample.stem ? 0.1 : 0); }, 0.01, 17);
  const AccuracyModel model(samples);
  double worth = 0;
  for (const AccuracySample& other : others) {
    worth += (model.predict(other.format, true, other.bytes).mean - model.predict(other.format, false, other.bytes).mean) / 100;
  }
  EXPECT_NEAR(worth, 0.1, 0.03);
}

TEST(AccuracyModel, IsTheSameEveryTime) {
  auto samples = drawn_formats(25, 11);
  measure(samples, smooth, 0.02, 12);
  const AccuracyModel one(samples), two(samples);
  for (const AccuracySample& other : drawn_formats(20, 13)) {
    EXPECT_EQ(one.predict(other.format, other.stem, other.bytes).mean, two.predict(other.format, other.stem, other.bytes).mean);
  }
}

TEST(AccuracyModel, TakesFewSamplesAndEqualOnes) {
  EXPECT_THROW(AccuracyModel({}), Error);
  auto samples = drawn_formats(3, 14);
  for (AccuracySample& sample : samples) sample.accuracy = 0.8;
  samples.push_back(samples.front());
  const Format other = parse_format("1x1/b64/k9/q20@128");
  for (std::size_t count : {1u, 2u, 4u}) {
    const AccuracyModel model({samples.begin(), samples.begin() + long(count)});
    EXPECT_NEAR(model.predict(other, false, 500).mean, 0.8, 0.02) << count;
    EXPECT_GT(model.predict(other, false, 500).deviation, 0) << count;
  }
}

}  // namespace
}  // namespace imagecalc
