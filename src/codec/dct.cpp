#include "codec/dct.h"

#include <algorithm>

#include "codec/cosines.h"
#include "format/format.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/dct.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "codec/multiply-inl.h"

// What does not depend on the CPU path.
#ifndef IMAGECALC_CODEC_DCT_CPP_
#define IMAGECALC_CODEC_DCT_CPP_
namespace imagecalc {

using Tile = float[kMaxBlock * kTileColumns];

constexpr float kRootOfHalf = 0.707106781f;
constexpr int kSmallestSplit = 16;
constexpr int kSmallestFast = 64, kFewestFast = 32;

// Whether a DCT is one matrix product.
constexpr bool is_direct(int size, int kept) { return size < kSmallestSplit || kept <= 2; }

// Whether its odd part is another DCT. Below these bounds, a matrix product is as fast or faster.
constexpr bool odd_is_fast(DctMethod method, int size, int kept) {
  if (size < kSmallestFast || method == DctMethod::pruned) return false;
  return method == DctMethod::full || kept >= kFewestFast;
}

}  // namespace imagecalc
#endif

HWY_BEFORE_NAMESPACE();
namespace imagecalc {
namespace HWY_NAMESPACE {

using Floats = hn::ScalableTag<float>;
using Float = hn::Vec<Floats>;

template <class Action>
HWY_INLINE void for_each_vector(Action action) {
  for (std::size_t x = 0; x < kTileColumns; x += hn::Lanes(Floats())) action(x);
}

HWY_INLINE Float load(const float* place) { return hn::LoadU(Floats(), place); }

HWY_INLINE Float load(const std::uint8_t* place) {
  const hn::Rebind<std::int32_t, Floats> whole;
  return hn::ConvertTo(Floats(), hn::PromoteTo(whole, hn::LoadU(hn::Rebind<std::uint8_t, Floats>(), place)));
}

HWY_INLINE void store(Float value, float* place) { hn::StoreU(value, Floats(), place); }

void product(const Left& a, const float* b, std::size_t b_stride, int rows, int inner, float* out, std::size_t out_stride) {
  multiply_kernel(a, b, b_stride, rows, inner, kTileColumns, out, out_stride);
}

HWY_INLINE Float weighted(Float value, const float* weights, int n) {
  return weights == nullptr ? value : hn::Mul(value, hn::Set(Floats(), weights[n]));
}

// Of `size` rows, source(n, x) being a vector of one: sums of mirrored ones to the first half of out, differences to the
// second, weighted if there are weights. Four rows at a time, so that source may be out.
template <class Source>
HWY_INLINE void split(int size, const float* weights, float twice_bias, float* out, Source source) {
  const auto bias = hn::Set(Floats(), twice_bias);
  const int half = size / 2;
  for (int n = 0, m = half - 1; n < half / 2; ++n, --m) {
    for_each_vector([&](std::size_t x) HWY_ATTR {
      const auto a = source(n, x), b = source(size - 1 - n, x), c = source(m, x), d = source(half + n, x);
      store(hn::Sub(hn::Add(a, b), bias), out + n * kTileColumns + x);
      store(hn::Sub(hn::Add(c, d), bias), out + m * kTileColumns + x);
      store(weighted(hn::Sub(a, b), weights, n), out + (half + n) * kTileColumns + x);
      store(weighted(hn::Sub(c, d), weights, m), out + (half + m) * kTileColumns + x);
    });
  }
}

// Back from halves to places: the weighted second half is added to the first, and taken from it in the mirrored rows.
void merge(int size, const float* weights, float* tile) {
  const int half = size / 2;
  for (int n = 0, m = half - 1; n < half / 2; ++n, --m) {
    float *first = tile + n * kTileColumns, *second = tile + m * kTileColumns;
    float *third = tile + (half + n) * kTileColumns, *fourth = tile + (half + m) * kTileColumns;
    for_each_vector([&](std::size_t x) HWY_ATTR {
      const auto a = load(first + x), b = weighted(load(third + x), weights, n);
      const auto c = load(second + x), d = weighted(load(fourth + x), weights, m);
      store(hn::Add(a, b), first + x);
      store(hn::Sub(a, b), fourth + x);
      store(hn::Add(c, d), second + x);
      store(hn::Sub(c, d), third + x);
    });
  }
}

void add_row(const float* row, float* to) {
  for_each_vector([&](std::size_t x) HWY_ATTR { store(hn::Add(load(to + x), load(row + x)), to + x); });
}

void scale_row(float factor, float* row) {
  for_each_vector([&](std::size_t x) HWY_ATTR { store(hn::Mul(load(row + x), hn::Set(Floats(), factor)), row + x); });
}

void transform_tile(DctMethod method, int size, int kept, int wanted, float* tile, float* out, std::size_t stride);

// A row of a tile.
HWY_INLINE void copy_row(const float* from, float* to) {
  for_each_vector([&](std::size_t x) HWY_ATTR { store(load(from + x), to + x); });
}

// The frequencies of a tile that split() has gone over; out's rows are `stride` apart.
void transform_halves(DctMethod method, int size, int kept, int wanted, float* tile, float* out, std::size_t stride) {
  const int half = size / 2, odd = wanted / 2;
  transform_tile(method, half, (kept + 1) / 2, (wanted + 1) / 2, tile, out, 2 * stride);
  float* differences = tile + half * kTileColumns;
  out += stride;
  if (!odd_is_fast(method, size, kept)) {
    const std::size_t row = static_cast<std::size_t>(size);
    product({cosines(size) + row, 2 * row, 1}, differences, kTileColumns, odd, half, out, 2 * stride);
    return;
  }
  transform_tile(method, half, std::min(kept / 2 + 1, half), std::min(odd + 1, half), differences, out, 2 * stride);
  for (int i = 0; i < std::min(odd, half - 1); ++i, out += 2 * stride) add_row(out + 2 * stride, out);
}

void transform_tile(DctMethod method, int size, int kept, int wanted, float* tile, float* out, std::size_t stride) {
  if (is_direct(size, kept)) {
    product({cosines(size), static_cast<std::size_t>(size), 1}, tile, kTileColumns, wanted, size, out, stride);
    return;
  }
  const auto source = [tile](int n, std::size_t x) HWY_ATTR { return load(tile + n * kTileColumns + x); };
  if (odd_is_fast(method, size, kept)) {
    split(size, half_secants(size), 0, tile, source);
  } else {
    split(size, nullptr, 0, tile, source);
  }
  transform_halves(method, size, kept, wanted, tile, out, stride);
}

// The transposes of the steps of transform_tile, in reverse.
void invert_tile(DctMethod method, int size, int kept, int present, float* frequencies, std::size_t stride, float* tile) {
  if (is_direct(size, kept)) {
    product({cosines(size), 1, static_cast<std::size_t>(size)}, frequencies, stride, size, present, tile, kTileColumns);
    return;
  }
  const int half = size / 2, odd = present / 2;
  invert_tile(method, half, (kept + 1) / 2, (present + 1) / 2, frequencies, 2 * stride, tile);
  float* differences = tile + half * kTileColumns;
  frequencies += stride;
  if (!odd_is_fast(method, size, kept)) {
    const std::size_t row = static_cast<std::size_t>(size);
    product({cosines(size) + row, 1, 2 * row}, frequencies, 2 * stride, half, odd, differences, kTileColumns);
    merge(size, nullptr, tile);
    return;
  }
  for (int i = std::min(odd, half - 1); i > 0; --i) {
    float* row = frequencies + 2 * stride * i;
    add_row(row - 2 * stride, row);
  }
  invert_tile(method, half, std::min(kept / 2 + 1, half), std::min(odd + 1, half), frequencies, 2 * stride, differences);
  merge(size, half_secants(size), tile);
}

// 32 of the columns that begin at rows[n] + x.
template <class Sample>
void down_tile(const Dct& dct, const Sample* const* rows, std::size_t x, float bias, int wanted, float* out) {
  HWY_ALIGN Tile tile;
  const auto source = [rows, begin = x](int n, std::size_t column) HWY_ATTR { return load(rows[n] + begin + column); };
  if (is_direct(dct.block, dct.kept)) {
    const auto one_bias = hn::Set(Floats(), bias);
    for (int n = 0; n < dct.block; ++n) {
      for_each_vector([&](std::size_t at) HWY_ATTR {
        store(hn::Sub(source(n, at), one_bias), tile + n * kTileColumns + at);
      });
    }
    transform_tile(dct.method, dct.block, dct.kept, wanted, tile, out, kTileColumns);
  } else {
    if (odd_is_fast(dct.method, dct.block, dct.kept)) {
      split(dct.block, half_secants(dct.block), 2 * bias, tile, source);
    } else {
      split(dct.block, nullptr, 2 * bias, tile, source);
    }
    transform_halves(dct.method, dct.block, dct.kept, wanted, tile, out, kTileColumns);
  }
  scale_row(kRootOfHalf, out);
}

// Fewer columns than a tile has: what is missing is 0.
template <class Sample>
void down_narrow(const Dct& dct, const Sample* const* rows, float bias, int columns, int wanted, float* frequencies) {
  Sample padded[kMaxBlock * kTileColumns] = {};
  const Sample* padded_rows[kMaxBlock] = {};
  for (int n = 0; n < dct.block; ++n) {
    padded_rows[n] = padded + n * kTileColumns;
    std::copy_n(rows[n], columns, padded + n * kTileColumns);
  }
  down_tile(dct, padded_rows, 0, bias, wanted, frequencies);
}

// The last tile overlaps the one before: it stores the same sums.
template <class Sample>
void down(const Dct& dct, const Sample* const* rows, float bias, int columns, int wanted, float* out,
          std::size_t out_stride) {
  HWY_ALIGN Tile frequencies;
  const int width = std::min(columns, kTileColumns);
  for (int x = 0; x < columns; x += kTileColumns) {
    const std::size_t begin = static_cast<std::size_t>(std::min(x, columns - width));
    if (width < kTileColumns) {
      down_narrow(dct, rows, bias, columns, wanted, frequencies);
    } else {
      down_tile(dct, rows, begin, bias, wanted, frequencies);
    }
    for (int i = 0; i < wanted; ++i) {
      const float* row = frequencies + i * kTileColumns;
      float* place = out + i * out_stride + begin;
      width < kTileColumns ? static_cast<void>(std::copy_n(row, width, place)) : copy_row(row, place);
    }
  }
}

void down_bytes(const Dct& dct, const std::uint8_t* const* rows, float bias, int columns, int wanted, float* out,
                std::size_t out_stride) {
  down(dct, rows, bias, columns, wanted, out, out_stride);
}

void down_floats(const Dct& dct, const float* const* rows, float bias, int columns, int wanted, float* out,
                 std::size_t out_stride) {
  down(dct, rows, bias, columns, wanted, out, out_stride);
}

// out [columns][rows] = in [rows][columns], both multiples of 4.
void transpose(const float* in, int rows, int columns, float* out) {
  for (int y = 0; y < rows; y += 4) {
    for (int x = 0; x < columns; x += 4) {
      const float* from = in + y * columns + x;
      float* to = out + x * rows + y;
#if HWY_TARGET == HWY_SCALAR
      for (int n = 0; n < 16; ++n) to[n / 4 * rows + n % 4] = from[n % 4 * columns + n / 4];
#else
      const hn::FixedTag<float, 4> d;
      const auto a = hn::LoadU(d, from), b = hn::LoadU(d, from + columns);
      const auto c = hn::LoadU(d, from + 2 * columns), e = hn::LoadU(d, from + 3 * columns);
      const auto ac_low = hn::InterleaveLower(d, a, c), be_low = hn::InterleaveLower(d, b, e);
      const auto ac_high = hn::InterleaveUpper(d, a, c), be_high = hn::InterleaveUpper(d, b, e);
      hn::StoreU(hn::InterleaveLower(d, ac_low, be_low), d, to);
      hn::StoreU(hn::InterleaveUpper(d, ac_low, be_low), d, to + rows);
      hn::StoreU(hn::InterleaveLower(d, ac_high, be_high), d, to + 2 * rows);
      hn::StoreU(hn::InterleaveUpper(d, ac_high, be_high), d, to + 3 * rows);
#endif
    }
  }
}

void across(const Dct& dct, const float* rows, int wanted, float* out) {
  HWY_ALIGN Tile tile;
  transpose(rows, kTileColumns, dct.block, tile);
  transform_tile(dct.method, dct.block, dct.kept, wanted, tile, out, kTileColumns);
  scale_row(kRootOfHalf, out);
}

// The row after the last that is present may be read by invert_tile, at every level: all are cleared.
void invert_frequencies(const Dct& dct, float* frequencies, int present, float* tile) {
  std::fill(frequencies + present * kTileColumns, frequencies + dct.block * kTileColumns, 0.0f);
  scale_row(kRootOfHalf, frequencies);
  invert_tile(dct.method, dct.block, dct.kept, present, frequencies, kTileColumns, tile);
}

void inverse_across(const Dct& dct, float* frequencies, int present, float* rows) {
  HWY_ALIGN Tile tile;
  invert_frequencies(dct, frequencies, present, tile);
  transpose(tile, dct.block, kTileColumns, rows);
}

void inverse_down(const Dct& dct, const float* frequencies, std::size_t stride, int present, int columns, float* out,
                  std::size_t out_stride) {
  HWY_ALIGN Tile copy, tile;
  for (int x = 0; x < columns; x += kTileColumns) {
    const int begin = std::min(x, columns - kTileColumns);
    for (int i = 0; i < present; ++i) copy_row(frequencies + i * stride + begin, copy + i * kTileColumns);
    invert_frequencies(dct, copy, present, tile);
    for (int n = 0; n < dct.block; ++n) copy_row(tile + n * kTileColumns, out + n * out_stride + begin);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace imagecalc
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace imagecalc {

HWY_EXPORT(down_bytes);
HWY_EXPORT(down_floats);
HWY_EXPORT(across);
HWY_EXPORT(inverse_across);
HWY_EXPORT(inverse_down);

void dct_down(const Dct& dct, const std::uint8_t* const* rows, float bias, int columns, int wanted, float* out,
              std::size_t out_stride) {
  HWY_DYNAMIC_DISPATCH(down_bytes)(dct, rows, bias, columns, wanted, out, out_stride);
}

void dct_down(const Dct& dct, const float* const* rows, float bias, int columns, int wanted, float* out,
              std::size_t out_stride) {
  HWY_DYNAMIC_DISPATCH(down_floats)(dct, rows, bias, columns, wanted, out, out_stride);
}

void dct_across(const Dct& dct, const float* rows, int wanted, float* out) {
  HWY_DYNAMIC_DISPATCH(across)(dct, rows, wanted, out);
}

void inverse_dct_across(const Dct& dct, float* frequencies, int present, float* rows) {
  HWY_DYNAMIC_DISPATCH(inverse_across)(dct, frequencies, present, rows);
}

void inverse_dct_down(const Dct& dct, const float* frequencies, std::size_t stride, int present, int columns, float* out,
                      std::size_t out_stride) {
  HWY_DYNAMIC_DISPATCH(inverse_down)(dct, frequencies, stride, present, columns, out, out_stride);
}

}  // namespace imagecalc
#endif
