#include "design/latency.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace imagecalc {
namespace {

using Point = MonotoneFit::Point;

// A run of neighbouring points that share one level.
struct Pool {
  double sum = 0, weight = 0;
  std::size_t points = 0;

  double level() const { return sum / weight; }
};

// Rising x; equal x become one point, whose weight is how many they were.
std::vector<Pool> merge_equal(std::vector<Point>& points) {
  std::stable_sort(points.begin(), points.end(), [](const Point& a, const Point& b) { return a.x < b.x; });
  std::vector<Pool> pools;
  std::vector<Point> distinct;
  for (const Point& point : points) {
    if (distinct.empty() || distinct.back().x != point.x) {
      distinct.push_back(point);
      pools.push_back({0, 0, 1});
    }
    pools.back().sum += point.y;
    pools.back().weight += 1;
  }
  points = std::move(distinct);
  return pools;
}

// Joins neighbours that fall until all levels rise.
std::vector<Pool> pool_violators(const std::vector<Pool>& pools) {
  std::vector<Pool> rising;
  for (Pool pool : pools) {
    while (!rising.empty() && rising.back().level() >= pool.level()) {
      const Pool& before = rising.back();
      pool = {before.sum + pool.sum, before.weight + pool.weight, before.points + pool.points};
      rising.pop_back();
    }
    rising.push_back(pool);
  }
  return rising;
}

double line_through(const Point& a, const Point& b, double x) { return a.y + (b.y - a.y) * ((x - a.x) / (b.x - a.x)); }

TensorSize size_of(const Format& format) { return tensor_size(ModelInput{.rgb = false, .rgb_size = 0, .format = format}); }

double area(const TensorSize& size) { return double(size.height) * size.width; }

struct SizeGroup {
  TensorSize size;
  std::vector<std::size_t> formats;  // indices
};

// The distinct tensor sizes by rising area.
std::vector<SizeGroup> group_by_size(const std::vector<Format>& formats) {
  std::map<TensorSize, std::vector<std::size_t>> by_size;
  for (std::size_t i = 0; i < formats.size(); ++i) by_size[size_of(formats[i])].push_back(i);
  std::vector<SizeGroup> groups;
  for (auto& [size, members] : by_size) groups.push_back({size, std::move(members)});
  std::stable_sort(groups.begin(), groups.end(),
                   [](const SizeGroup& a, const SizeGroup& b) { return area(a.size) < area(b.size); });
  return groups;
}

std::vector<std::size_t> by_block(std::vector<std::size_t> members, const std::vector<Format>& formats) {
  std::stable_sort(members.begin(), members.end(),
                   [&](std::size_t a, std::size_t b) { return formats[a].block < formats[b].block; });
  return members;
}

// The group whose area is nearest to the target, by ratio.
std::size_t nearest(const std::vector<SizeGroup>& groups, double log_area) {
  auto distance = [&](const SizeGroup& group) { return std::abs(std::log(area(group.size)) - log_area); };
  auto closer = [&](const SizeGroup& a, const SizeGroup& b) { return distance(a) < distance(b); };
  return std::size_t(std::min_element(groups.begin(), groups.end(), closer) - groups.begin());
}

template <typename X, typename Y>
MonotoneFit fit(const std::vector<LatencySample>& samples, X x, Y y) {
  std::vector<Point> points;
  for (const LatencySample& sample : samples) points.push_back({x(sample), y(sample.measured)});
  return MonotoneFit(std::move(points));
}

double sample_bytes(const LatencySample& sample) { return sample.bytes; }
double sample_area(const LatencySample& sample) { return area(size_of(sample.format)); }

constexpr std::size_t kFewestToWeigh = 4;  // a line goes through two points whatever the weight

double weighted_area(const Format& format, double map_weight) {
  return area(size_of(format)) + map_weight * area(map_size(format, true));
}

// Of the model's times with the weighted areas; 0 where they do not vary.
double correlation(const std::vector<LatencySample>& samples, double map_weight) {
  const auto count = double(samples.size());
  double x = 0, y = 0, xx = 0, yy = 0, xy = 0;
  for (const LatencySample& sample : samples) {
    const double size = weighted_area(sample.format, map_weight), time = sample.measured.model;
    x += size / count;
    y += time / count;
    xx += size * size / count;
    yy += time * time / count;
    xy += size * time / count;
  }
  const double variances = (xx - x * x) * (yy - y * y);
  return variances > 0 ? (xy - x * y) / std::sqrt(variances) : 0;
}

double find_map_weight(const std::vector<LatencySample>& samples) {
  if (samples.size() < kFewestToWeigh) return 0;
  constexpr double kLeast = 0.25, kMost = 1 << 16;  // far apart: from no part in it to nearly all
  double found = 0, most = correlation(samples, 0);
  for (double weight = kLeast; weight <= kMost; weight *= 2) {
    const double here = correlation(samples, weight);
    if (here <= most) continue;
    most = here;
    found = weight;
  }
  return found;
}

}  // namespace

MonotoneFit::MonotoneFit(std::vector<Point> points) : points_(std::move(points)) {
  if (points_.empty()) {
    throw Error(Fault::invalid_argument, "a latency model needs at least one measurement",
                "Measure at least one format before predicting the others.");
  }
  const std::vector<Pool> pools = pool_violators(merge_equal(points_));
  auto point = points_.begin();
  for (const Pool& pool : pools) {
    for (std::size_t i = 0; i < pool.points; ++i) (point++)->y = pool.level();
  }
}

double MonotoneFit::operator()(double x) const {
  if (points_.size() == 1 || x <= points_.front().x) return points_.front().y;
  auto right = std::lower_bound(points_.begin(), points_.end(), x, [](const Point& p, double at) { return p.x < at; });
  if (right == points_.end()) --right;
  return line_through(right[-1], right[0], x);
}

TensorSize map_size(const Format& format, bool stem) {
  const TensorSize tensor = size_of(format);
  return stem ? TensorSize{tensor.height / format.kept, tensor.width / format.kept} : tensor;
}

bool may_have_stem(const Format& format) { return format.kept > 1; }

std::vector<std::size_t> latency_grid(const std::vector<Format>& formats, bool stem, std::size_t count) {
  if (formats.empty() || count == 0) return {};
  const std::vector<SizeGroup> groups = group_by_size(formats);
  const double first = std::log(area(groups.front().size)), last = std::log(area(groups.back().size));

  std::vector<std::size_t> chosen = {groups.size() - 1};
  for (std::size_t i = 0; i + 1 < count; ++i) {
    // The first target is met by the first group, even where another has its area.
    chosen.push_back(i == 0 ? 0 : nearest(groups, first + (last - first) * double(i) / double(count - 1)));
  }
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());

  std::vector<std::size_t> grid;
  for (std::size_t group : chosen) {
    const std::vector<std::size_t> members = by_block(groups[group].formats, formats);
    const bool most_blocks = grid.size() % 2 == 0;
    grid.push_back(!stem ? members[members.size() / 2] : most_blocks ? members.front() : members.back());
  }
  return grid;
}

LatencyModel::LatencyModel(const std::vector<LatencySample>& samples, bool stem)
    : map_weight_(stem ? find_map_weight(samples) : 0),
      fetch_(fit(samples, sample_bytes, [](const Latency& l) { return l.fetch; })),
      decode_(fit(samples, sample_area, [](const Latency& l) { return l.decode; })),
      transfer_(fit(samples, sample_area, [](const Latency& l) { return l.transfer; })),
      model_(fit(
          samples, [this](const LatencySample& sample) { return weighted_area(sample.format, map_weight_); },
          [](const Latency& l) { return l.model; })) {}

Latency LatencyModel::predict(const Format& format, double bytes) const {
  const double x = area(size_of(format));
  return {.fetch = fetch_(bytes), .decode = decode_(x), .transfer = transfer_(x), .model = model_(weighted_area(format, map_weight_))};
}

}  // namespace imagecalc
