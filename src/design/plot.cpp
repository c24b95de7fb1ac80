#include "design/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <set>
#include <utility>

#include "design/markup.h"
#include "format/error.h"

namespace imagecalc {
namespace {

constexpr double kWidth = 720, kHeight = 440;
constexpr const char* kTrained = "fill='#1d4e89'";  // the style of a trial's dot
constexpr double kLeft = 64, kRight = 700, kTop = 44, kBottom = 384;

// printf into a string: a drawing is mostly numbers.
[[gnu::format(printf, 2, 3)]] void add(std::string& svg, const char* format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  svg += line;
}

void add_text(std::string& svg, double x, double y, const char* anchor, const std::string& text, const char* more = "") {
  add(svg, "<text x='%.1f' y='%.1f' text-anchor='%s'%s>", x, y, anchor, more);
  svg += escaped(text) + "</text>\n";
}

std::string begin_svg(const std::string& title, double height, const std::string& attributes = {}) {
  std::string svg;
  add(svg,
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %.0f %.0f' width='%.0f' height='%.0f' "
      "font-family='system-ui, sans-serif' font-size='12' fill='#333'",
      kWidth, height, kWidth, height);
  svg += attributes + ">\n";
  add(svg, "<rect width='%.0f' height='%.0f' fill='white'/>\n", kWidth, height);
  add_text(svg, kLeft, 24, "start", title, " font-size='15' font-weight='600'");
  return svg;
}

// 0.5, 20, 3000, 40k
std::string short_number(double value) {
  char text[32];
  if (value >= 10'000) {
    std::snprintf(text, sizeof text, "%gk", value / 1000);
  } else {
    std::snprintf(text, sizeof text, "%g", value);
  }
  return text;
}

// ---- axes

// Upright, of accuracies. What is above or below it is drawn at its end.
class AccuracyAxis {
 public:
  AccuracyAxis(double low, double high) : step_(high - low > 0.4 ? 0.1 : high - low > 0.12 ? 0.05 : 0.01) {
    bottom_ = std::max(0.0, step_ * std::floor(low / step_));
    top_ = std::min(1.0, step_ * std::ceil(high / step_));
    if (top_ <= bottom_) top_ = bottom_ + step_;
  }

  double y(double accuracy) const {
    return kBottom - (kBottom - kTop) * (std::clamp(accuracy, bottom_, top_) - bottom_) / (top_ - bottom_);
  }
  double bottom() const { return bottom_; }
  double top() const { return top_; }

  void draw(std::string& svg) const {
    for (double at = bottom_; at <= top_ + step_ / 2; at += step_) {
      add(svg, "<path d='M%.1f %.1fH%.1f' stroke='#e4e4e4'/>\n", kLeft, y(at), kRight);
      add_text(svg, kLeft - 8, y(at) + 4, "end", short_number(std::round(at * 1000) / 10) + " %");
    }
  }

 private:
  double step_, bottom_, top_;
};

void draw_line_below(std::string& svg, const std::string& title) {
  add(svg, "<path d='M%.1f %.1fH%.1f' stroke='#888'/>\n", kLeft, kBottom, kRight);
  add_text(svg, (kLeft + kRight) / 2, kBottom + 42, "middle", title);
}

void draw_tick(std::string& svg, double x, const std::string& text) {
  add(svg, "<path d='M%.1f %.1fv5' stroke='#888'/>\n", x, kBottom);
  add_text(svg, x, kBottom + 19, "middle", text);
}

// ---- accuracy over cost

class Axes {
 public:
  explicit Axes(const AccuracyPlot& plot) : accuracy_(0, 1) {
    double least = plot.formats[0].cost, most = least, low = 1, high = 0;
    const auto take_in = [&](const PlotPoint& point) {
      least = std::min(least, point.cost);
      most = std::max(most, point.cost);
      low = std::min(low, point.accuracy);
      high = std::max(high, point.accuracy);
    };
    for (const PlotPoint& point : plot.formats) take_in(point);
    if (plot.reference) take_in(*plot.reference);
    first_ = std::log(least) - 0.05;
    last_ = std::log(most) + 0.05;
    accuracy_ = AccuracyAxis(low, high);
  }

  double x(double cost) const { return kLeft + (kRight - kLeft) * (std::log(cost) - first_) / (last_ - first_); }
  double y(double accuracy) const { return accuracy_.y(accuracy); }

  std::string attributes() const {
    std::string text;
    add(text, " data-x='%g %g %.6f %.6f' data-y='%g %g %g %g'", kLeft, kRight, first_, last_, kBottom, kTop, accuracy_.bottom(),
        accuracy_.top());
    return text;
  }

  void draw(std::string& svg, const std::string& cost_title) const {
    accuracy_.draw(svg);
    for (double at : ticks()) draw_tick(svg, x(at), short_number(at));
    draw_line_below(svg, cost_title);
  }

 private:
  // 1, 2, 5, 10, 20 ...; over less than a decade all digits, and over less than a part of that halves of them.
  std::vector<double> ticks() const {
    std::vector<double> digits = {1, 2, 5};
    if (last_ - first_ < std::log(10)) digits = {1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9};
    if (last_ - first_ < std::log(2.5)) digits = {1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8, 8.5, 9, 9.5};
    std::vector<double> found;
    for (double decade = std::pow(10, std::floor(first_ / std::log(10))); std::log(decade) < last_; decade *= 10) {
      for (double digit : digits) {
        const double at = digit * decade;
        if (std::log(at) >= first_ && std::log(at) <= last_) found.push_back(at);
      }
    }
    return found;
  }

  double first_ = 0, last_ = 1;  // logarithms
  AccuracyAxis accuracy_;
};

// Dots that fall on one place are drawn once: of thousands most do.
void draw_dots(std::string& svg, const Axes& axes, const std::vector<PlotPoint>& formats) {
  std::set<std::pair<int, int>> places;
  for (const PlotPoint& point : formats) {
    if (!point.measured) places.insert({int(std::lround(axes.x(point.cost))), int(std::lround(axes.y(point.accuracy)))});
  }
  svg += "<path fill='none' stroke='#7a9cc6' stroke-opacity='0.45' stroke-width='3' stroke-linecap='round' d='";
  for (const auto& [x, y] : places) add(svg, "M%d %dh0", x, y);
  svg += "'/>\n";
}

// The formats that are more accurate than all cheaper ones, by rising cost.
std::vector<const PlotPoint*> best_at_each_cost(const std::vector<PlotPoint>& formats) {
  std::vector<const PlotPoint*> order;
  for (const PlotPoint& point : formats) order.push_back(&point);
  std::stable_sort(order.begin(), order.end(), [](const PlotPoint* a, const PlotPoint* b) {
    return std::pair(a->cost, -a->accuracy) < std::pair(b->cost, -b->accuracy);
  });
  std::vector<const PlotPoint*> best;
  for (const PlotPoint* point : order) {
    if (best.empty() || point->accuracy > best.back()->accuracy) best.push_back(point);
  }
  return best;
}

void draw_frontier(std::string& svg, const Axes& axes, const std::vector<PlotPoint>& formats) {
  const auto best = best_at_each_cost(formats);
  svg += "<path fill='#d97706' fill-opacity='0.15' d='";
  for (std::size_t i = 0; i < best.size(); ++i) add(svg, "%c%.1f %.1f", i ? 'L' : 'M', axes.x(best[i]->cost), axes.y(best[i]->high));
  for (std::size_t i = best.size(); i-- > 0;) add(svg, "L%.1f %.1f", axes.x(best[i]->cost), axes.y(best[i]->low));
  svg += "Z'/>\n<path fill='none' stroke='#d97706' stroke-width='1.5' d='";
  for (std::size_t i = 0; i < best.size(); ++i) {
    add(svg, "%c%.1f %.1f", i ? 'L' : 'M', axes.x(best[i]->cost), axes.y(best[i]->accuracy));
  }
  svg += "'/>\n";
}

// Numbers about what is called name: what a dot says where the pointer rests on it.
void draw_dot(std::string& svg, double x, double y, double radius, const char* style, const std::string& name, const std::string& numbers) {
  add(svg, "<circle cx='%.1f' cy='%.1f' r='%.1f' %s><title>", x, y, radius, style);
  svg += escaped(name) + ": " + numbers + "</title></circle>\n";
}

void draw_dot(std::string& svg, const Axes& axes, const PlotPoint& point, double radius, const char* style) {
  std::string numbers;
  add(numbers, "%.1f %%, %.4g", 100 * point.accuracy, point.cost);
  draw_dot(svg, axes.x(point.cost), axes.y(point.accuracy), radius, style, point.name, numbers);
}

void draw_reference(std::string& svg, const Axes& axes, const PlotPoint& reference) {
  add(svg, "<path d='M%.1f %.1fH%.1f' stroke='#b91c1c' stroke-dasharray='4 4'/>\n", kLeft, axes.y(reference.accuracy), kRight);
  draw_dot(svg, axes, reference, 5, "fill='#b91c1c'");
}

// ---- accuracy over buckets

// In the middle of its part of the axis.
double bucket_x(const BucketPlot& plot, int bucket) {
  return kLeft + (kRight - kLeft) * (bucket + 0.5) / static_cast<double>(plot.buckets.size());
}

AccuracyAxis accuracy_axis_of(const BucketPlot& plot) {
  double low = 1, high = 0;
  for (const BucketRange& bucket : plot.buckets) {
    low = std::min(low, bucket.least);
    high = std::max(high, bucket.most);
  }
  for (const BucketTrial& trial : plot.trials) {
    low = std::min(low, trial.accuracy);
    high = std::max(high, trial.accuracy);
  }
  return {low, high};
}

void draw_ranges(std::string& svg, const BucketPlot& plot, const AccuracyAxis& axis) {
  std::string curve;
  const double width = 0.6 * (kRight - kLeft) / static_cast<double>(plot.buckets.size());
  for (int i = 0; i < static_cast<int>(plot.buckets.size()); ++i) {
    const BucketRange& bucket = plot.buckets[static_cast<std::size_t>(i)];
    const double x = bucket_x(plot, i), top = axis.y(bucket.most);
    add(svg, "<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f' fill='#7a9cc6' fill-opacity='0.3'/>\n", x - width / 2, top, width,
        std::max(1.0, axis.y(bucket.least) - top));
    add(curve, "%c%.1f %.1f", i ? 'L' : 'M', x, axis.y(bucket.mean));
  }
  svg += "<path fill='none' stroke='#7a9cc6' stroke-width='1.5' d='" + curve + "'/>\n";
}

// ---- the time of an image

constexpr std::array<const char*, 4> kPartNames = {"fetch", "decode", "transfer", "model"};
constexpr std::array<const char*, 4> kPartColours = {"#94a3b8", "#d97706", "#65a30d", "#1d4e89"};

std::array<double, 4> parts_of(const Latency& latency) {
  return {latency.fetch, latency.decode, latency.transfer, latency.model};
}

void check_something(bool is_there) {
  if (is_there) return;
  throw Error(Fault::invalid_argument, "there is nothing to draw yet", "Wait until the first trial has ended.");
}

}  // namespace

std::string draw(const AccuracyPlot& plot) {
  check_something(!plot.formats.empty());
  const Axes axes(plot);
  std::string svg = begin_svg(plot.title, kHeight, axes.attributes());
  axes.draw(svg, plot.cost_title);
  draw_dots(svg, axes, plot.formats);
  draw_frontier(svg, axes, plot.formats);
  if (plot.reference) draw_reference(svg, axes, *plot.reference);
  for (const PlotPoint& point : plot.formats) {
    if (point.measured) draw_dot(svg, axes, point, 3.5, kTrained);
  }
  for (const PlotPoint& point : plot.formats) {
    if (point.name != plot.chosen) continue;
    draw_dot(svg, axes, point, 7, "fill='none' stroke='#111' stroke-width='2'");
    const bool at_right = axes.x(point.cost) > (kLeft + kRight) / 2;
    add_text(svg, axes.x(point.cost) + (at_right ? -12 : 12), axes.y(point.accuracy) + 4, at_right ? "end" : "start", point.name,
             " font-weight='600'");
  }
  return svg + "</svg>\n";
}

std::string draw(const BucketPlot& plot) {
  check_something(!plot.buckets.empty());
  const AccuracyAxis axis = accuracy_axis_of(plot);
  std::string svg = begin_svg(plot.title, kHeight);
  axis.draw(svg);
  for (int i = 0; i < static_cast<int>(plot.buckets.size()); ++i) draw_tick(svg, bucket_x(plot, i), std::to_string(i));
  draw_line_below(svg, "bucket, most compressing first");
  draw_ranges(svg, plot, axis);
  for (const BucketTrial& trial : plot.trials) {
    std::string numbers;
    add(numbers, "%.1f %%", 100 * trial.accuracy);
    draw_dot(svg, bucket_x(plot, trial.bucket), axis.y(trial.accuracy), 3.5, kTrained, trial.name, numbers);
  }
  return svg + "</svg>\n";
}

std::string draw(const std::string& title, const std::vector<LatencyBar>& bars) {
  constexpr double kBar = 26, kGap = 18, kNames = 200;
  double longest = 1e-9;
  for (const LatencyBar& bar : bars) longest = std::max(longest, bar.latency.total());
  const double height = kTop + 30 + static_cast<double>(bars.size()) * (kBar + kGap) + 10;
  std::string svg = begin_svg(title, height);
  double x = kLeft;
  for (std::size_t part = 0; part < kPartNames.size(); ++part, x += 90) {
    add(svg, "<rect x='%.1f' y='%.1f' width='12' height='12' fill='%s'/>\n", x, kTop, kPartColours[part]);
    add_text(svg, x + 18, kTop + 11, "start", kPartNames[part]);
  }
  double y = kTop + 30;
  for (const LatencyBar& bar : bars) {
    add_text(svg, kNames - 10, y + 17, "end", bar.name);
    const auto parts = parts_of(bar.latency);
    x = kNames;
    for (std::size_t part = 0; part < parts.size(); ++part) {
      const double width = (kRight - 80 - kNames) * parts[part] / longest;
      add(svg, "<rect x='%.2f' y='%.1f' width='%.2f' height='%.0f' fill='%s'><title>%s %.4g us</title></rect>\n", x, y, width, kBar,
          kPartColours[part], kPartNames[part], parts[part]);
      x += width;
    }
    char total[32];
    std::snprintf(total, sizeof total, "%.4g us", bar.latency.total());
    add_text(svg, x + 8, y + 17, "start", total);
    y += kBar + kGap;
  }
  return svg + "</svg>\n";
}

}  // namespace imagecalc
