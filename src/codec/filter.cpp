#include "codec/filter.h"

#include <algorithm>
#include <cmath>

namespace imagecalc {

Filter make_filter(int source, int target) {
  Filter filter;
  double step = static_cast<double>(source) / target;
  double support = std::max(1.0, step);
  for (int i = 0; i < target; ++i) {
    double center = (i + 0.5) * step;
    int first = std::max(static_cast<int>(center - support + 0.5), 0);
    int count = std::min(static_cast<int>(center + support + 0.5), source) - first;
    auto weight = [&](int tap) { return std::max(0.0, 1.0 - std::abs(first + tap - center + 0.5) / support); };
    while (count > 1 && weight(count - 1) == 0) --count;
    while (count > 1 && weight(0) == 0) ++first, --count;
    filter.taps.push_back({first, count, filter.weights.size()});
    double sum = 0;
    for (int tap = 0; tap < count; ++tap) sum += weight(tap);
    for (int tap = 0; tap < count; ++tap) filter.weights.push_back(static_cast<float>(weight(tap) / sum));
  }
  return filter;
}

}  // namespace imagecalc
