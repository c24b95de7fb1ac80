#include <algorithm>
#include <cmath>

#include "codec/picture.h"

namespace imagecalc {
namespace {

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
Filter make_filter(int source, int target) {
  Filter filter;
  double step = static_cast<double>(source) / target;
  double support = std::max(1.0, step);
  for (int i = 0; i < target; ++i) {
    double center = (i + 0.5) * step;
    int first = std::max(static_cast<int>(center - support + 0.5), 0);
    int count = std::min(static_cast<int>(center + support + 0.5), source) - first;
    filter.taps.push_back({first, count, filter.weights.size()});
    auto weight = [&](int tap) { return std::max(0.0, 1.0 - std::abs(first + tap - center + 0.5) / support); };
    double sum = 0;
    for (int tap = 0; tap < count; ++tap) sum += weight(tap);
    for (int tap = 0; tap < count; ++tap) filter.weights.push_back(static_cast<float>(weight(tap) / sum));
  }
  return filter;
}

// sum[x] = the weighted rows of the source, `samples` from `begin` on in each.
void blend_rows(const std::uint8_t* begin, std::size_t stride, int samples, const Filter& filter, const Taps& taps,
                float* sum) {
  std::fill_n(sum, samples, 0.0f);
  for (int tap = 0; tap < taps.count; ++tap) {
    const std::uint8_t* row = begin + stride * (taps.first + tap);
    const float weight = filter.weights[taps.weight + tap];
    for (int x = 0; x < samples; ++x) sum[x] += weight * row[x];
  }
}

// Scales one interleaved row into the planes' rows that begin at out, `plane` samples apart.
template <int kChannels>
void scale_row(const float* row, const Filter& filter, float* out, std::size_t plane) {
  for (std::size_t x = 0; x < filter.taps.size(); ++x) {
    const Taps& taps = filter.taps[x];
    const float* sample = row + std::size_t(taps.first) * kChannels;
    const float* weight = filter.weights.data() + taps.weight;
    float sum[kChannels] = {};
    for (int tap = 0; tap < taps.count; ++tap, sample += kChannels) {
      for (int c = 0; c < kChannels; ++c) sum[c] += weight[tap] * sample[c];
    }
    for (int c = 0; c < kChannels; ++c) out[c * plane + x] = sum[c];
  }
}

template <int kChannels>
void copy_row(const std::uint8_t* row, int width, float* out, std::size_t plane) {
  for (int c = 0; c < kChannels; ++c) {
    for (int x = 0; x < width; ++x) out[c * plane + x] = row[x * kChannels + c];
  }
}

// Vertically first: that pass has unit stride over whole rows, and leaves few rows for the other.
template <int kChannels>
void scale_samples(const std::uint8_t* begin, std::size_t stride, const Box& box, Planes& out, const Interrupt& interrupt) {
  const Filter rows = make_filter(box.height, out.height), columns = make_filter(box.width, out.width);
  const std::size_t plane = std::size_t(out.width) * out.height;
  const bool copy = box.width == out.width && box.height == out.height;
  std::vector<float> blended(std::size_t(box.width) * kChannels);
  for (int y = 0; y < out.height; ++y) {
    interrupt.check();
    float* to = out.samples.data() + std::size_t(y) * out.width;
    if (copy) {
      copy_row<kChannels>(begin + stride * y, box.width, to, plane);
    } else {
      blend_rows(begin, stride, box.width * kChannels, rows, rows.taps[y], blended.data());
      scale_row<kChannels>(blended.data(), columns, to, plane);
    }
  }
}

void check_arguments(const Picture& picture, const Box& box, int width, int height) {
  if (picture.channels != 1 && picture.channels != 3) {
    throw Error(Fault::invalid_argument, "a picture must have 1 or 3 channels, not " + std::to_string(picture.channels));
  }
  if (picture.samples.size() != std::size_t(picture.width) * picture.height * picture.channels) {
    throw Error(Fault::invalid_argument, "a picture's samples do not match its width and height");
  }
  bool inside = box.left >= 0 && box.top >= 0 && box.width > 0 && box.height > 0 && box.width <= picture.width - box.left &&
                box.height <= picture.height - box.top;
  if (!inside) throw Error(Fault::invalid_argument, "the box to scale must lie inside the picture");
  if (width < 1 || height < 1) throw Error(Fault::invalid_argument, "a picture cannot be scaled to nothing");
}

}  // namespace

Planes scale(const Picture& picture, const Box& box, int width, int height, const Interrupt& interrupt) {
  check_arguments(picture, box, width, height);
  Planes out{width, height, picture.channels, {}};
  out.samples.resize(std::size_t(width) * height * picture.channels);
  const std::size_t stride = std::size_t(picture.width) * picture.channels;
  const std::uint8_t* begin = picture.samples.data() + stride * box.top + std::size_t(box.left) * picture.channels;
  if (picture.channels == 1) {
    scale_samples<1>(begin, stride, box, out, interrupt);
  } else {
    scale_samples<3>(begin, stride, box, out, interrupt);
  }
  return out;
}

void to_ycbcr(Planes& planes) {
  const std::size_t count = std::size_t(planes.width) * planes.height;
  float* first = planes.plane(0);
  if (planes.channels == 1) {
    for (std::size_t n = 0; n < count; ++n) first[n] -= 128.0f;
    return;
  }
  float *second = planes.plane(1), *third = planes.plane(2);
  for (std::size_t n = 0; n < count; ++n) {
    const float red = first[n], green = second[n], blue = third[n];
    first[n] = 0.299f * red + 0.587f * green + 0.114f * blue - 128.0f;
    second[n] = -0.168735892f * red - 0.331264108f * green + 0.5f * blue;
    third[n] = 0.5f * red - 0.418687589f * green - 0.081312411f * blue;
  }
}

}  // namespace imagecalc
