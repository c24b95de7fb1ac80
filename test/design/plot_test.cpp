// Plots: well-formed SVG that shows what it is given.
#include "design/plot.h"

#include <gtest/gtest.h>

#include <cmath>
#include <regex>

#include "format/error.h"

namespace imagecalc {
namespace {

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

// Every element that is opened is closed, in order; no attribute holds a quote or an angle of its own.
void expect_well_formed(const std::string& svg) {
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-z]+)((?: [a-zA-Z-]+='[^'<>]*')*) ?(/?)>");
  std::size_t at = 0;
  for (std::sregex_iterator it(svg.begin(), svg.end(), tag), end; it != end; ++it) {
    const std::string between = svg.substr(at, std::size_t(it->position()) - at);
    EXPECT_EQ(between.find_first_of("<>"), between.npos) << between;
    at = std::size_t(it->position() + it->length());
    if (!it->str(1).empty()) {
      ASSERT_FALSE(open.empty());
      EXPECT_EQ(open.back(), it->str(2));
      open.pop_back();
    } else if (it->str(4).empty()) {
      open.push_back(it->str(2));
    }
  }
  EXPECT_TRUE(open.empty());
  EXPECT_EQ(svg.find("nan"), svg.npos);
  EXPECT_EQ(svg.find("inf"), svg.npos);
}

AccuracyPlot sample_plot(int formats) {
  AccuracyPlot plot{.title = "a < b & \"c\"", .cost_title = "bytes", .formats = {}, .chosen = "format 3", .reference = {}};
  for (int i = 0; i < formats; ++i) {
    const double accuracy = 0.5 + 0.4 * std::tanh(i / 10.0);
    plot.formats.push_back({"format " + std::to_string(i), 30.0 + i * i, accuracy, accuracy - 0.03, accuracy + 0.03, i % 7 == 3});
  }
  return plot;
}

TEST(Plot, ShowsTheFormatsTheChoiceAndTheReference) {
  AccuracyPlot plot = sample_plot(50);
  const std::string without = draw(plot);
  expect_well_formed(without);
  EXPECT_NE(without.find("a &lt; b &amp; &quot;c&quot;"), without.npos);
  EXPECT_EQ(count(without, "<circle"), 7u + 1) << "a dot for each that was trained, and a ring";
  EXPECT_NE(without.find(">format 3</text>"), without.npos);
  plot.reference = PlotPoint{"RGB", 9000, 0.95, 0.95, 0.95, true};
  const std::string with = draw(plot);
  expect_well_formed(with);
  EXPECT_EQ(count(with, "<circle"), 7u + 2);
}

TEST(Plot, DrawsDotsOfOnePlaceOnce) {
  AccuracyPlot plot = sample_plot(50);
  const std::size_t size = draw(plot).size();
  const std::vector<PlotPoint> formats = plot.formats;
  for (int i = 0; i < 100; ++i) plot.formats.insert(plot.formats.end(), formats.begin() + 4, formats.begin() + 10);
  EXPECT_EQ(draw(plot).size(), size);
}

TEST(Plot, TakesOneFormatAndEqualOnes) {
  for (int formats : {1, 2}) {
    AccuracyPlot plot = sample_plot(formats);
    for (PlotPoint& point : plot.formats) point = plot.formats[0];
    expect_well_formed(draw(plot));
  }
  EXPECT_THROW(draw(sample_plot(0)), Error);
}

std::vector<double> ticks_of(double least, double most) {
  AccuracyPlot plot = sample_plot(2);
  plot.formats[0].cost = least;
  plot.formats[1].cost = most;
  const std::string svg = draw(plot);
  const std::regex tick("y='403.0' text-anchor='middle'>([0-9.]+)k?<");
  std::vector<double> found;
  for (std::sregex_iterator it(svg.begin(), svg.end(), tick), end; it != end; ++it) found.push_back(std::stod(it->str(1)));
  return found;
}

TEST(Plot, NarrowAxesHaveNumbersToo) {
  EXPECT_EQ(ticks_of(10, 2000), (std::vector<double>{10, 20, 50, 100, 200, 500, 1000, 2000}));
  EXPECT_EQ(ticks_of(190, 720), (std::vector<double>{200, 300, 400, 500, 600, 700}));
  EXPECT_EQ(ticks_of(205, 380), (std::vector<double>{200, 250, 300, 350}));
}

TEST(Plot, DrawsTheCurveOverBuckets) {
  BucketPlot plot{.title = "accuracy by bucket", .buckets = {}, .trials = {}};
  EXPECT_THROW(draw(plot), Error);
  for (int i = 0; i < 16; ++i) plot.buckets.push_back({0.5 + i / 100.0, 0.6 + i / 100.0, 0.7 + i / 100.0});
  plot.trials = {{0, "small", 0.6}, {15, "a < b", 0.93}};
  const std::string svg = draw(plot);
  expect_well_formed(svg);
  EXPECT_EQ(count(svg, "<rect"), 1u + 16) << "the ground, and a box for each bucket";
  EXPECT_EQ(count(svg, "<circle"), 2u);
  EXPECT_NE(svg.find("<title>a &lt; b: 93.0 %</title>"), svg.npos);
  EXPECT_NE(svg.find(">15</text>"), svg.npos);
  expect_well_formed(draw(BucketPlot{.title = "one", .buckets = {{0.5, 0.5, 0.5}}, .trials = {}}));
}

TEST(Plot, DrawsBarsOfTheComponents) {
  const std::vector<LatencyBar> bars = {{"JPEG", {.fetch = 20, .decode = 400, .transfer = 60, .model = 3000}},
                                        {"1x1/b32/k3/q50@256", {.fetch = 1, .decode = 6, .transfer = 40, .model = 200}}};
  const std::string svg = draw("where the time goes", bars);
  expect_well_formed(svg);
  EXPECT_EQ(count(svg, "<title>model"), 2u);
  EXPECT_NE(svg.find(">3480 us</text>"), svg.npos);
  expect_well_formed(draw("nothing", std::vector<LatencyBar>{}));
}

}  // namespace
}  // namespace imagecalc
