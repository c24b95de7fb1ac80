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

// The map that most of a model works on: the tensor, or behind a stem a place for each of its blocks.
TensorSize map_size(const Format& format, bool stem);

// Whether a format is explored with a stem, too: of more than one coefficient a block.
bool may_have_stem(const Format& format);

// One format for each of at most `count` tensor sizes of the space, from the smallest to the largest area, evenly in its
// logarithm; the ends always (a count of 1 gives the largest). Among formats of one tensor size the one in the middle by
// block size stands for all; with a stem in turns one of the most and one of the fewest blocks, as both matter to it. Returns
// indices into formats, which have a size.
std::vector<std::size_t> latency_grid(const std::vector<Format>& formats, bool stem, std::size_t count);

struct LatencySample {
  Format format;
  double bytes = 0;  // mean of a value
  Latency measured;
};

// Fetch as a function of a value's bytes; decode, transfer and model of the tensor's area; with a stem, model of the weighted sum of
// the tensor's area, which the stem reads, and the map's, on which the rest works: that with which its time grows most evenly.
class LatencyModel {
 public:
  // At least one sample, or Error(invalid_argument). stem: whether these, and those to predict, have one.
  explicit LatencyModel(const std::vector<LatencySample>& samples, bool stem = false);
  Latency predict(const Format& format, double bytes) const;

 private:
  double map_weight_;  // so many places of the tensor cost as much as one of the map; 0 without a stem
  MonotoneFit fetch_, decode_, transfer_, model_;
};

}  // namespace imagecalc
