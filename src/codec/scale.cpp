#include <algorithm>

#include "codec/filter.h"
#include "codec/picture.h"
#include "codec/samples.h"

namespace imagecalc {
namespace {

// Scales one interleaved row into the planes' rows that begin at planes[c]. The samples are followed by one more float, so
// that a pixel of three can be taken as a vector of four.
template <int kChannels>
void scale_row(const float* row, const Filter& filter, float* const planes[3]) {
  constexpr int kLanes = kChannels == 3 ? 4 : 1;
  for (std::size_t x = 0; x < filter.taps.size(); ++x) {
    const Taps& taps = filter.taps[x];
    const float* sample = row + std::size_t(taps.first) * kChannels;
    const float* weight = filter.weights.data() + taps.weight;
    float sum[kLanes] = {};
    for (int tap = 0; tap < taps.count; ++tap, sample += kChannels) {
      for (int c = 0; c < kLanes; ++c) sum[c] += weight[tap] * sample[c];
    }
    for (int c = 0; c < kChannels; ++c) planes[c][x] = sum[c];
  }
}

// Vertically first: that pass has unit stride over whole rows, and leaves few rows for the other.
template <int kChannels>
void scale_samples(const std::uint8_t* begin, std::size_t stride, const Box& box, Planes& out, const Interrupt& interrupt) {
  const Filter rows = make_filter(box.height, out.height), columns = make_filter(box.width, out.width);
  const std::size_t samples = std::size_t(box.width) * kChannels;
  std::vector<float> blended(samples + 1);
  for (int y = 0; y < out.height; ++y) {
    interrupt.check();
    const Taps& taps = rows.taps[y];
    blend_rows(begin + stride * taps.first, stride, rows.weights.data() + taps.weight, taps.count, samples, blended.data());
    float* planes[3] = {};
    for (int c = 0; c < kChannels; ++c) planes[c] = out.plane(c) + std::size_t(y) * out.width;
    if (box.width != out.width) {
      scale_row<kChannels>(blended.data(), columns, planes);
    } else if (kChannels == 3) {
      deinterleave(blended.data(), samples / 3, planes);
    } else {
      std::copy_n(blended.data(), samples, planes[0]);
    }
  }
}

}  // namespace

void check_box(const Picture& picture, const Box& box) {
  check_whole(picture);
  bool inside = box.left >= 0 && box.top >= 0 && box.width > 0 && box.height > 0 && box.width <= picture.width - box.left &&
                box.height <= picture.height - box.top;
  if (!inside) throw Error(Fault::invalid_argument, "the box to scale must lie inside the picture");
}

Planes scale(const Picture& picture, const Box& box, int width, int height, const Interrupt& interrupt) {
  check_box(picture, box);
  if (width < 1 || height < 1) throw Error(Fault::invalid_argument, "a picture cannot be scaled to nothing");
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

}  // namespace imagecalc
