// Pictures of what a design knows, as SVG that stands alone: no script, no font or style sheet of elsewhere.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "design/latency.h"

namespace imagecalc {

// A format, or RGB, by what it costs and how accurate it is (0..1).
struct PlotPoint {
  std::string name;
  double cost = 0;  // above 0
  double accuracy = 0, low = 0, high = 0;
  bool measured = false;
};

struct AccuracyPlot {
  std::string title, cost_title;
  std::vector<PlotPoint> formats;
  std::optional<std::string> chosen;     // a format's name
  std::optional<PlotPoint> reference;  // RGB
};

// Accuracy over cost, whose axis is logarithmic: a dot for each format, larger where it was trained, the best accuracy at each cost
// as a line with its interval, the chosen format and RGB marked. Error(invalid_argument) without formats. The svg element tells
// a script where things are: data-x="left right first last", the ends of the cost axis in pixels and in logarithms of the cost, and
// data-y="bottom top lowest highest", those of the accuracy axis.
std::string draw(const AccuracyPlot& plot);

// The search's view: accuracy over the buckets that it cuts the formats into.
struct BucketRange {
  double least = 1, mean = 0, most = 0;  // of what is expected of its formats, 0..1
};
struct BucketTrial {
  int bucket = 0;
  std::string name;  // the format's
  double accuracy = 0;
};
struct BucketPlot {
  std::string title;
  std::vector<BucketRange> buckets;  // most compressing first
  std::vector<BucketTrial> trials;
};
// A box and a point of the curve for each bucket, a dot for each trial. Error(invalid_argument) without buckets.
std::string draw(const BucketPlot& plot);

// Where the time of an image goes, a bar for each.
struct LatencyBar {
  std::string name;
  Latency latency;
};
std::string draw(const std::string& title, const std::vector<LatencyBar>& bars);

}  // namespace imagecalc
