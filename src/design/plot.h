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

// Where the time of an image goes, a bar for each.
struct LatencyBar {
  std::string name;
  Latency latency;
};
std::string draw(const std::string& title, const std::vector<LatencyBar>& bars);

}  // namespace imagecalc
