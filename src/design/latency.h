// The latency model: measured on a grid of tensor sizes, a monotone fit between.
#pragma once

#include <cstdint>
#include <vector>

#include "codec/tensor.h"
#include "format/format.h"

namespace imagecalc {

// Microseconds an image at the working batch.
struct Latency {
  double fetch = 0, decode = 0, transfer = 0, model = 0;
  double total() const { return fetch + decode + transfer + model; }
};

// A non-decreasing function through measured points: least squares under that constraint (pool adjacent violators), linear
// between the points, constant before the first, and past the last with the slope of the last segment.
class MonotoneFit {
 public:
  struct Point {
    double x = 0, y = 0;
  };
  // At least one point, or Error(invalid_argument); any order; equal x are averaged.
  explicit MonotoneFit(std::vector<Point> points);
  double operator()(double x) const;

 private:
  std::vector<Point> points_;  // rising x, non-decreasing y
};

// One format for each of at most `count` tensor sizes of the space, from the smallest to the largest area, evenly in its
// logarithm; the ends always (a count of 1 gives the largest). Among formats of one tensor size the one in the middle by
// block size stands for all. Returns indices into formats, which have a size.
std::vector<std::size_t> latency_grid(const std::vector<Format>& formats, std::size_t count);

struct LatencySample {
  Format format;
  double bytes = 0;  // mean of a value
  Latency measured;
};

// Fetch as a function of a value's bytes; decode, transfer and model of the tensor's area.
class LatencyModel {
 public:
  // At least one sample, or Error(invalid_argument).
  explicit LatencyModel(const std::vector<LatencySample>& samples);
  Latency predict(const Format& format, double bytes) const;

 private:
  MonotoneFit fetch_, decode_, transfer_, model_;
};

}  // namespace imagecalc
