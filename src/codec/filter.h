// The filter that scales one dimension of a picture.
#pragma once

#include <cstddef>
#include <vector>

namespace imagecalc {

// Which source samples make one scaled sample: `count` of them from `first`, weights from `weight` on.
struct Taps {
  int first, count;
  std::size_t weight;
};

struct Filter {
  std::vector<Taps> taps;
  std::vector<float> weights;
};

// The triangle filter that takes `source` samples to `target`: as wide as the reduction, its weights sum to 1.
Filter make_filter(int source, int target);

}  // namespace imagecalc
