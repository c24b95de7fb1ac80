#include "codec/tensor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/tensor.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef IMAGECALC_CODEC_TENSOR_ONCE
#define IMAGECALC_CODEC_TENSOR_ONCE
namespace imagecalc {

constexpr int kGroup = 8;  // blocks, and frequencies, that are transposed at once

// One channel of an image as bytes. Diagonals from `diagonals` on are 0 and not looked at.
struct ChannelView {
  const std::uint8_t* bytes;  // [frequency in triangle order][block]
  int kept, diagonals;
  Geometry geometry;
};

// What becomes of a coefficient: value * factor + shift.
struct Affine {
  float factor, shift;
};

}  // namespace imagecalc
#endif

HWY_BEFORE_NAMESPACE();
namespace imagecalc {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Puts the bytes where the tensor has their coefficients; grid: [tensor_height][tensor_width], all 0. Down a diagonal of
// frequencies of one block, each place is a row further down and a column less far right.
void scatter(const ChannelView& view, std::uint8_t* grid) {
  const std::size_t blocks = static_cast<std::size_t>(view.geometry.blocks()), across = view.geometry.blocks_across;
  const std::size_t width = static_cast<std::size_t>(view.geometry.tensor_width), kept = static_cast<std::size_t>(view.kept);
  const std::uint8_t* next = view.bytes;
  for (int diagonal = 0; diagonal < view.diagonals; ++diagonal) {
    for (std::size_t block = 0; block < blocks; ++block) {
      std::uint8_t* to = grid + (block / across * width + block % across) * kept + diagonal;
      const std::uint8_t* from = next + block;
      for (int i = 0; i <= diagonal; ++i, from += blocks, to += width - 1) *to = *from;
    }
    next += std::size_t(diagonal + 1) * blocks;
  }
}

#if HWY_TARGET != HWY_SCALAR
// Frequencies j to j + 7 of eight blocks, block by block. place: the first one's in the planes, unless it lies outside the
// triangle. A store reaches into the block after it, so a later frequency must come before an earlier one, and a block
// before the next.
void collect_group(const ChannelView& view, int i, int j, std::size_t place, std::uint8_t* row) {
  const hn::CappedTag<std::uint8_t, 16> d8;
  const hn::Half<decltype(d8)> half;
  const hn::Repartition<std::uint16_t, decltype(d8)> d16;
  const hn::Repartition<std::uint32_t, decltype(d8)> d32;
  const std::size_t blocks = static_cast<std::size_t>(view.geometry.blocks());
  using V = hn::Vec<decltype(d8)>;
  auto load = [&](int n) HWY_ATTR {
    if (i + j + n >= view.diagonals) return hn::Zero(d8);
    const V bytes = hn::ZeroExtendVector(d8, hn::LoadU(half, view.bytes + place));
    place += std::size_t(i + j + n + 1) * blocks;
    return bytes;
  };
  V pairs[4], fours[4];
  for (int n = 0; n < 4; ++n) {
    const V first = load(2 * n);
    pairs[n] = hn::InterleaveLower(d8, first, load(2 * n + 1));
  }
  for (int n = 0; n < 2; ++n) {
    const auto low = hn::BitCast(d16, pairs[2 * n]), high = hn::BitCast(d16, pairs[2 * n + 1]);
    fours[n] = hn::BitCast(d8, hn::InterleaveLower(d16, low, high));
    fours[n + 2] = hn::BitCast(d8, hn::InterleaveUpper(d16, low, high));
  }
  for (int n = 0; n < 2; ++n) {
    const auto low = hn::BitCast(d32, fours[2 * n]), high = hn::BitCast(d32, fours[2 * n + 1]);
    const V first = hn::BitCast(d8, hn::InterleaveLower(d32, low, high));
    const V second = hn::BitCast(d8, hn::InterleaveUpper(d32, low, high));
    std::uint8_t* to = row + std::size_t(4 * n) * view.kept;
    hn::StoreU(hn::LowerHalf(half, first), half, to);
    hn::StoreU(hn::UpperHalf(half, first), half, to + view.kept);
    hn::StoreU(hn::LowerHalf(half, second), half, to + 2 * std::size_t(view.kept));
    hn::StoreU(hn::UpperHalf(half, second), half, to + 3 * std::size_t(view.kept));
  }
}

// The same as scatter(), for eight blocks and more a row. The last group may write into the next row, which comes after it,
// or the slack after the grid.
void collect(const ChannelView& view, std::uint8_t* grid) {
  const std::size_t blocks = static_cast<std::size_t>(view.geometry.blocks());
  const std::size_t width = static_cast<std::size_t>(view.geometry.tensor_width);
  const int across = view.geometry.blocks_across;
  for (int down = 0; down < view.geometry.blocks_down; ++down) {
    const std::size_t first = std::size_t(down) * across;
    for (int i = 0; i < view.kept; ++i, grid += width) {
      if (i >= view.diagonals) {
        std::fill_n(grid, width, std::uint8_t{0});
        continue;
      }
      for (int block = 0; block < across; block += kGroup) {
        for (int j = (view.kept - 1) / kGroup * kGroup; j >= 0; j -= kGroup) {
          collect_group(view, i, j, first + triangle_index(i, j) * blocks + block,
                        grid + std::size_t(block) * view.kept + j);
        }
      }
    }
  }
}
#endif

void make_grid(const ChannelView& view, std::uint8_t* grid) {
#if HWY_TARGET != HWY_SCALAR
  if (view.geometry.blocks_across >= kGroup) return collect(view, grid);
#endif
  std::fill_n(grid, view.geometry.tensor_area(), std::uint8_t{0});
  scatter(view, grid);
}

template <class D>
HWY_INLINE hn::Vec<D> dequantize(D d, const std::uint8_t* row, float factor) {
  const hn::RebindToSigned<D> di;
  const auto zigzag = hn::PromoteTo(di, hn::LoadU(hn::Rebind<std::uint8_t, D>(), row));
  const auto value = hn::Xor(hn::ShiftRight<1>(zigzag), hn::Neg(hn::And(zigzag, hn::Set(di, 1))));
  return hn::Mul(hn::ConvertTo(d, value), hn::Set(d, factor));
}

template <class D>
HWY_INLINE void store(D d, hn::Vec<D> value, float* out) {
  hn::StoreU(value, d, out);
}
template <class D, typename Integer>
HWY_INLINE void store(D, hn::Vec<D> value, Integer* out) {
  const hn::Rebind<Integer, D> narrow;
  hn::StoreU(hn::DemoteTo(narrow, hn::NearestInt(value)), narrow, out);
}

// shifts: added to each place; row and shifts are readable up to kSlack beyond count. The last vector overlaps the one
// before.
template <typename Out>
void convert_row(const std::uint8_t* row, const float* shifts, float factor, std::size_t count, Out* out) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  auto convert = [&](std::size_t x, Out* to)
                     HWY_ATTR { store(d, hn::Add(dequantize(d, row + x, factor), hn::LoadU(d, shifts + x)), to); };
  if (count < lanes) {
    Out all[hn::MaxLanes(d)];
    convert(0, all);
    std::copy_n(all, count, out);
    return;
  }
  for (std::size_t x = 0; x + lanes <= count; x += lanes) convert(x, out + x);
  if (count % lanes) convert(count - lanes, out + count - lanes);
}

template <typename Out>
void place_any(const ChannelView& view, const Affine& affine, Out* out) {
  constexpr std::size_t kSlack = BytePlanes::kSlack;
  const Geometry& geometry = view.geometry;
  const std::size_t width = static_cast<std::size_t>(geometry.tensor_width), kept = static_cast<std::size_t>(view.kept);
  const auto grid = std::make_unique_for_overwrite<std::uint8_t[]>(static_cast<std::size_t>(geometry.tensor_area()) +
                                                                   kGroup * kept + kSlack);
  make_grid(view, grid.get());
  const auto shifts = std::make_unique<float[]>(width + kSlack);
  for (std::size_t i = 0; i < kept; ++i) {
    if (affine.shift != 0) {
      for (std::size_t block = 0; block < width; block += kept) {
        std::fill_n(shifts.get() + block, kept - i, affine.shift);
        std::fill_n(shifts.get() + block + kept - i, i, 0.0f);
      }
    }
    for (std::size_t y = i; y < static_cast<std::size_t>(geometry.tensor_height); y += kept) {
      convert_row(grid.get() + y * width, shifts.get(), affine.factor, width, out + y * width);
    }
  }
}

void place_float(const ChannelView& view, const Affine& affine, float* out) { place_any(view, affine, out); }
void place_int8(const ChannelView& view, const Affine& affine, std::int8_t* out) { place_any(view, affine, out); }
void place_int16(const ChannelView& view, const Affine& affine, std::int16_t* out) { place_any(view, affine, out); }

}  // namespace HWY_NAMESPACE
}  // namespace imagecalc
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace imagecalc {

HWY_EXPORT(place_float);
HWY_EXPORT(place_int8);
HWY_EXPORT(place_int16);

namespace {

constexpr int kTensorChannels = 3;

void place_channel(const ChannelView& view, const Affine& affine, float* out) {
  HWY_DYNAMIC_DISPATCH(place_float)(view, affine, out);
}
void place_channel(const ChannelView& view, const Affine& affine, std::int8_t* out) {
  HWY_DYNAMIC_DISPATCH(place_int8)(view, affine, out);
}
void place_channel(const ChannelView& view, const Affine& affine, std::int16_t* out) {
  HWY_DYNAMIC_DISPATCH(place_int16)(view, affine, out);
}

float convert(std::int32_t value, const Affine& affine, float) {
  return static_cast<float>(value) * affine.factor + affine.shift;
}

template <typename Integer>
Integer convert(std::int32_t value, const Affine& affine, Integer) {
  const float lowest = std::numeric_limits<Integer>::min(), highest = std::numeric_limits<Integer>::max();
  return static_cast<Integer>(std::nearbyint(std::clamp(static_cast<float>(value) * affine.factor, lowest, highest)));
}

// Where the tensor has the coefficient that is at `place` of its channel. diagonal: becomes the coefficient's, which it must
// not be past.
std::size_t tensor_place(std::size_t place, int kept, const Geometry& geometry, int& diagonal) {
  const std::size_t blocks = static_cast<std::size_t>(geometry.blocks()),
                    across = static_cast<std::size_t>(geometry.blocks_across);
  const std::size_t frequency = place / blocks, block = place % blocks;
  while (triangle_size(diagonal + 1) <= static_cast<std::int64_t>(frequency)) ++diagonal;
  const std::size_t i = frequency - static_cast<std::size_t>(triangle_size(diagonal)),
                    j = static_cast<std::size_t>(diagonal) - i;
  const std::size_t k = static_cast<std::size_t>(kept);
  return (block / across * k + i) * static_cast<std::size_t>(geometry.tensor_width) + block % across * k + j;
}

// How many diagonals there are up to the last byte that is not 0.
int count_diagonals(const std::uint8_t* bytes, std::size_t size, std::int64_t blocks) {
  const std::int64_t used = static_cast<std::int64_t>(size_without_zeros(bytes, size));
  int diagonals = 0;
  while (triangle_size(diagonals) * blocks < used) ++diagonals;
  return diagonals;
}

// affine: one for each channel of the tensor.
template <typename Out>
void place_planes(const BytePlanes& planes, int channels, const Format& format, const Geometry& geometry,
                  const std::array<Affine, kTensorChannels>& affine, Out* out) {
  const std::size_t channel = planes.size() / channels, area = static_cast<std::size_t>(geometry.tensor_area());
  for (int c = 0; c < kTensorChannels; ++c) {
    ChannelView view{planes.bytes() + (c < channels ? c * channel : 0), format.kept, 0, geometry};
    if (c < channels) view.diagonals = count_diagonals(view.bytes, channel, geometry.blocks());
    place_channel(view, affine[c], out + area * c);
  }
  std::size_t c = 0;
  int diagonal = 0;
  for (const BytePlanes::Large& large : planes.large) {
    if (large.place / channel != c) diagonal = 0;
    c = large.place / channel;
    const std::size_t place = tensor_place(large.place % channel, format.kept, geometry, diagonal);
    out[area * c + place] = convert(large.value, affine[c], Out{});
  }
}

std::array<Affine, kTensorChannels> normalising(const Format& format, const Normalisation& normalisation) {
  std::array<Affine, kTensorChannels> affine;
  for (int c = 0; c < kTensorChannels; ++c) {
    affine[c] = {static_cast<float>(format.quantizer) / normalisation.deviation[c],
                 -normalisation.mean[c] / normalisation.deviation[c]};
  }
  return affine;
}

template <typename Integer>
void place_integers(const StoredImage& image, const Scales& scales, Integer* out) {
  std::array<Affine, kTensorChannels> affine;
  for (int c = 0; c < kTensorChannels; ++c) {
    affine[c] = {static_cast<float>(image.header.format.quantizer) / scales[c], 0};
    if (!(scales[c] > 0) || !std::isfinite(affine[c].factor)) {
      throw Error(Fault::invalid_argument, "the scale of an integer tensor must be above 0");
    }
  }
  place_planes(image.planes, image.header.channels, image.header.format, image.header.geometry(), affine, out);
}

}  // namespace

void place_normalised(const StoredImage& image, const Normalisation& normalisation, float* out) {
  const ValueHeader& header = image.header;
  place_planes(image.planes, header.channels, header.format, header.geometry(), normalising(header.format, normalisation),
               out);
}

void place_normalised(const Coefficients& coefficients, const Normalisation& normalisation, float* out) {
  place_planes(to_planes(coefficients.values.data(), coefficients.values.size()), coefficients.channels, coefficients.format,
               coefficients.geometry(), normalising(coefficients.format, normalisation), out);
}

void place(const StoredImage& image, float* out) { place_normalised(image, Normalisation{}, out); }
void place(const Coefficients& coefficients, float* out) { place_normalised(coefficients, Normalisation{}, out); }

void place_scaled(const StoredImage& image, const Scales& scales, std::int8_t* out) { place_integers(image, scales, out); }
void place_scaled(const StoredImage& image, const Scales& scales, std::int16_t* out) { place_integers(image, scales, out); }

void read_batch(std::span<const Bytes> values, const Limits& limits, const Normalisation& normalisation, float* out,
                const Interrupt& interrupt) {
  if (values.empty()) return;
  const ValueHeader first = read_value_header(values.front(), limits);
  const Geometry geometry = first.geometry();
  for (const Bytes value : values) {
    const ValueHeader header = read_value_header(value, limits);
    const Geometry own = header.geometry();
    if (header.format != first.format || own.blocks_across != geometry.blocks_across ||
        own.blocks_down != geometry.blocks_down) {
      throw Error(Fault::wrong_format, "the images of a batch differ in format or size",
                  "Put images of one format and size together.");
    }
    place_normalised(read_image(value, limits, interrupt), normalisation, out);
    out += kTensorChannels * geometry.tensor_area();
  }
}

void place_rgb(const Picture& picture, const Box& box, int size, const Normalisation& normalisation, float* out) {
  const Planes planes = scale(picture, box, size, size);
  const std::size_t area = std::size_t(size) * size;
  for (int c = 0; c < kTensorChannels; ++c, out += area) {
    const float factor = 1.0f / (255.0f * normalisation.deviation[c]);
    const float shift = -normalisation.mean[c] / normalisation.deviation[c];
    const float* plane = planes.plane(std::min(c, planes.channels - 1));
    std::transform(plane, plane + area, out, [=](float sample) { return sample * factor + shift; });
  }
}

TensorSize tensor_size(const ModelInput& input) {
  if (input.rgb) return {input.rgb_size, input.rgb_size};
  if (input.format.size == 0) {
    throw Error(Fault::invalid_argument, "image format " + to_string(input.format) + " has no size",
                "Use a format with a size, as in " + to_string(input.format) + "@256.");
  }
  const Geometry result = geometry(input.format, input.format.size, input.format.size);
  return {result.tensor_height, result.tensor_width};
}

}  // namespace imagecalc
#endif
