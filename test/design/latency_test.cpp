// The latency model: the monotone fit against the textbook formula, the grid of tensor sizes, predictions by component.
#include "design/latency.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

namespace imagecalc {
namespace {

using Point = MonotoneFit::Point;

double mean(const std::vector<Point>& points, std::size_t first, std::size_t last) {
  double sum = 0;
  for (std::size_t i = first; i <= last; ++i) sum += points[i].y;
  return sum / double(last - first + 1);
}

// Isotonic regression by its min-max formula: max over j <= i of min over k >= i of mean(j..k).
double min_max(const std::vector<Point>& points, std::size_t i) {
  double most = -INFINITY;
  for (std::size_t j = 0; j <= i; ++j) {
    double least = INFINITY;
    for (std::size_t k = i; k < points.size(); ++k) least = std::min(least, mean(points, j, k));
    most = std::max(most, least);
  }
  return most;
}

TensorSize tensor(const Format& format) { return tensor_size(ModelInput{.rgb = false, .rgb_size = 0, .format = format}); }
double area(const TensorSize& size) { return double(size.height) * size.width; }

TEST(MonotoneFit, IsTheLeastSquaresFit) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    std::vector<Point> points;
    const int count = 1 + int(random() % 12);
    for (int i = 0; i < count; ++i) points.push_back({double(i * 3), double(random() % 10) + i});
    auto shuffled = points;
    std::shuffle(shuffled.begin(), shuffled.end(), random);
    const MonotoneFit fit(shuffled);
    for (std::size_t i = 0; i < points.size(); ++i) EXPECT_NEAR(fit(points[i].x), min_max(points, i), 1e-9);
  }
}

TEST(MonotoneFit, NeverFalls) {
  const MonotoneFit fit({{1, 5}, {2, 3}, {3, 9}, {4, 8}, {6, 20}});
  for (double x = 0; x < 9; x += 0.01) EXPECT_LE(fit(x), fit(x + 0.01));
}

TEST(MonotoneFit, IsLinearBetweenConstantBeforeAndGoesOnPastTheEnd) {
  const MonotoneFit fit({{10, 1}, {20, 2}, {40, 8}});
  EXPECT_DOUBLE_EQ(fit(0), 1);
  EXPECT_DOUBLE_EQ(fit(10), 1);
  EXPECT_DOUBLE_EQ(fit(15), 1.5);
  EXPECT_DOUBLE_EQ(fit(20), 2);
  EXPECT_DOUBLE_EQ(fit(30), 5);
  EXPECT_DOUBLE_EQ(fit(50), 11);
}

TEST(MonotoneFit, AveragesEqualPlacesAndCountsThemAll) {
  const MonotoneFit fit({{1, 4}, {1, 6}, {2, 8}});
  EXPECT_DOUBLE_EQ(fit(1), 5);
  EXPECT_DOUBLE_EQ(fit(2), 8);
  const MonotoneFit pooled({{1, 9}, {2, 0}, {2, 0}});  // three measurements of one level: (9 + 0 + 0) / 3
  EXPECT_DOUBLE_EQ(pooled(1), 3);
  EXPECT_DOUBLE_EQ(pooled(2), 3);
}

TEST(MonotoneFit, OnePointIsAConstant) {
  const MonotoneFit fit({{5, 7}});
  EXPECT_DOUBLE_EQ(fit(-1), 7);
  EXPECT_DOUBLE_EQ(fit(100), 7);
}

TEST(MonotoneFit, NeedsAPoint) { EXPECT_THROW(MonotoneFit({}), Error); }

TEST(LatencyGrid, HasBothEndsAndRisesEvenlyInTheLogarithm) {
  const auto formats = design_space(256);
  const auto grid = latency_grid(formats, false, 12);
  ASSERT_GE(grid.size(), 10u);
  ASSERT_LE(grid.size(), 12u);
  double smallest = INFINITY, largest = 0;
  for (const Format& format : formats) {
    smallest = std::min(smallest, area(tensor(format)));
    largest = std::max(largest, area(tensor(format)));
  }
  EXPECT_EQ(area(tensor(formats[grid.front()])), smallest);
  EXPECT_EQ(area(tensor(formats[grid.back()])), largest);
  const double step = std::log(largest / smallest) / 11;
  for (std::size_t i = 1; i < grid.size(); ++i) {
    const double ratio = std::log(area(tensor(formats[grid[i]])) / area(tensor(formats[grid[i - 1]])));
    EXPECT_GT(ratio, 0);
    EXPECT_LT(ratio, 2 * step);
  }
}

TEST(LatencyGrid, TakesEverySizeWhereTheyAreFew) {
  std::vector<Format> formats;
  for (int quantizer : {20, 50}) {
    for (int block : {16, 32, 64}) {
      formats.push_back({.block = block, .kept = block / 8, .quantizer = quantizer, .size = 64});
    }
  }
  formats.push_back({.block = 32, .kept = 1, .quantizer = 50, .size = 64});
  const auto grid = latency_grid(formats, false, 40);  // six formats give 8x8, one 2x2
  ASSERT_EQ(grid.size(), 2u);
  EXPECT_EQ(grid[0], 6u);
  EXPECT_EQ(formats[grid[1]].block, 32) << "the middle one by block size";
}

TEST(LatencyGrid, WithAStemInTurnsOfMostAndOfFewestBlocks) {
  std::vector<Format> formats;  // tensors of 16x16, 32x32 and 64x64, each by three block sizes
  for (int kept : {1, 2, 4}) {
    for (int block : {16, 32, 64}) formats.push_back({.block = block, .kept = kept * block / 4, .quantizer = 50, .size = 64});
  }
  const auto grid = latency_grid(formats, true, 40);
  ASSERT_EQ(grid.size(), 3u);
  EXPECT_EQ(map_size(formats[grid[0]], false), (TensorSize{16, 16}));
  EXPECT_EQ(map_size(formats[grid[0]], true), (TensorSize{4, 4}));
  EXPECT_EQ(map_size(formats[grid[1]], true), (TensorSize{1, 1}));
  EXPECT_EQ(map_size(formats[grid[2]], true), (TensorSize{4, 4}));
}

TEST(LatencyGrid, SmallCounts) {
  const auto formats = design_space(64);
  EXPECT_TRUE(latency_grid({}, false, 5).empty());
  EXPECT_TRUE(latency_grid(formats, false, 0).empty());
  ASSERT_EQ(latency_grid(formats, false, 1).size(), 1u);
  EXPECT_EQ(latency_grid(formats, false, 2).size(), 2u);
  EXPECT_EQ(latency_grid(formats, false, 1)[0], latency_grid(formats, false, 2)[1]);
}

TEST(LatencyGrid, NeedsASize) { EXPECT_THROW(latency_grid(design_space(0), false, 4), Error); }

TEST(LatencyModel, PredictsFetchByBytesAndTheRestByArea) {
  const Format small = parse_format("1x1/b32/k2/q50@256");   // 16x16
  const Format middle = parse_format("1x1/b32/k4/q50@256");  // 32x32
  const Format large = parse_format("1x1/b32/k6/q50@256");   // 48x48
  const LatencyModel model({{small, 400, {.fetch = 1, .decode = 2, .transfer = 0.5, .model = 100}},
                            {large, 2400, {.fetch = 5, .decode = 10, .transfer = 2.5, .model = 900}}});
  const Latency at_sample = model.predict(large, 2400);
  EXPECT_DOUBLE_EQ(at_sample.fetch, 5);
  EXPECT_DOUBLE_EQ(at_sample.total(), 917.5);

  const double share = (32.0 * 32 - 16 * 16) / (48.0 * 48 - 16 * 16);
  const Latency between = model.predict(middle, 1400);
  EXPECT_DOUBLE_EQ(between.fetch, 3);
  EXPECT_DOUBLE_EQ(between.decode, 2 + 8 * share);
  EXPECT_DOUBLE_EQ(between.transfer, 0.5 + 2 * share);
  EXPECT_DOUBLE_EQ(between.model, 100 + 800 * share);
  EXPECT_DOUBLE_EQ(model.predict(middle, 400).model, between.model) << "bytes matter to the fetch only";
}

TEST(LatencyModel, WithAStemTheTensorAndTheBlocksMatter) {
  // What a network with 16 filters in its stem and 4000 multiplications a place behind it would take.
  const auto time = [](const Format& format) {
    const TensorSize tensor = map_size(format, false), map = map_size(format, true);
    return 20 + 0.006 * tensor.height * tensor.width + 0.5 * map.height * map.width;
  };
  std::vector<Format> formats = design_space(128);
  std::erase_if(formats, [](const Format& format) { return !may_have_stem(format); });
  std::vector<LatencySample> samples;
  for (std::size_t i : latency_grid(formats, true, 12)) {
    samples.push_back({formats[i], 100, {.fetch = 1, .decode = 2, .transfer = 0.5, .model = time(formats[i])}});
  }
  const LatencyModel model(samples, true), by_tensor(samples, false);
  double error = 0, error_by_tensor = 0;
  for (const Format& format : formats) {
    error += std::abs(model.predict(format, 100).model / time(format) - 1) / double(formats.size());
    error_by_tensor += std::abs(by_tensor.predict(format, 100).model / time(format) - 1) / double(formats.size());
  }
  EXPECT_LT(error, 0.05);
  EXPECT_LT(error, error_by_tensor / 3);
}

TEST(LatencyModel, NeedsASample) { EXPECT_THROW(LatencyModel({}), Error); }

}  // namespace
}  // namespace imagecalc
