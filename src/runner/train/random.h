// Random numbers that are the same everywhere for the same seed (SplitMix64).
#pragma once

#include <cstdint>
#include <initializer_list>

namespace imagecalc {

class Random {
 public:
  // Any part that differs gives another sequence.
  explicit Random(std::initializer_list<std::uint64_t> parts) {
    for (std::uint64_t part : parts) state_ = next() ^ part;
  }

  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  // low <= result < high.
  double uniform(double low, double high) { return low + (high - low) * static_cast<double>(next() >> 11) * 0x1p-53; }
  // 0 .. count-1; count is far below 2^53.
  std::uint64_t below(std::uint64_t count) { return static_cast<std::uint64_t>(uniform(0, static_cast<double>(count))); }

 private:
  std::uint64_t state_ = 0;
};

}  // namespace imagecalc
