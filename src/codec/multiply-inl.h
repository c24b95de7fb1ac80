// The matrix product's inner loops, compiled once a CPU path by the files that include this (Highway's foreach_target.h).
#if defined(IMAGECALC_CODEC_MULTIPLY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef IMAGECALC_CODEC_MULTIPLY_INL_H_
#undef IMAGECALC_CODEC_MULTIPLY_INL_H_
#else
#define IMAGECALC_CODEC_MULTIPLY_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>

HWY_BEFORE_NAMESPACE();
namespace imagecalc {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// The left factor: element (row, n) is at data[row * stride + n * step].
struct Left {
  const float* data;
  std::size_t stride, step;
};

// kRows x kVectors vectors of the product, held in registers while the sums grow.
template <int kRows, int kVectors, class D>
HWY_INLINE void multiply_tile(D d, const Left& a, const float* b, std::size_t b_stride, int inner, float* out,
                              std::size_t out_stride) {
  const std::size_t lanes = hn::Lanes(d);
  hn::Vec<D> sum[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
  }
  const float* left = a.data;
  for (int n = 0; n < inner; ++n, left += a.step, b += b_stride) {
    hn::Vec<D> right[kVectors];
    for (int v = 0; v < kVectors; ++v) right[v] = hn::LoadU(d, b + v * lanes);
    for (int r = 0; r < kRows; ++r) {
      const auto factor = hn::Set(d, left[r * a.stride]);
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Add(sum[r][v], hn::Mul(factor, right[v]));
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[r][v], d, out + r * out_stride + v * lanes);
  }
}

// All columns of kRows rows, at least one vector of them. The last vector overlaps the one before: it stores the same sums.
template <int kRows, class D>
HWY_INLINE void multiply_columns(D d, const Left& a, const float* b, std::size_t b_stride, int inner, int columns,
                                 float* out, std::size_t out_stride) {
  constexpr int kVectors = kRows <= 2 ? 4 : 2;  // enough independent sums to hide the latency of an addition
  const int lanes = static_cast<int>(hn::Lanes(d));
  int x = 0;
  for (; x + kVectors * lanes <= columns; x += kVectors * lanes) {
    multiply_tile<kRows, kVectors>(d, a, b + x, b_stride, inner, out + x, out_stride);
  }
  for (; x < columns; x += lanes) {
    const int begin = HWY_MIN(x, columns - lanes);
    multiply_tile<kRows, 1>(d, a, b + begin, b_stride, inner, out + begin, out_stride);
  }
}

template <int kRows>
HWY_INLINE void multiply_rows(const Left& a, const float* b, std::size_t b_stride, int inner, int columns, float* out,
                              std::size_t out_stride) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 4> narrow;
  if (columns >= static_cast<int>(hn::Lanes(d))) {
    multiply_columns<kRows>(d, a, b, b_stride, inner, columns, out, out_stride);
  } else if (columns >= static_cast<int>(hn::Lanes(narrow))) {
    multiply_columns<kRows>(narrow, a, b, b_stride, inner, columns, out, out_stride);
  } else {
    multiply_columns<kRows>(hn::CappedTag<float, 1>(), a, b, b_stride, inner, columns, out, out_stride);
  }
}

HWY_INLINE void multiply_kernel(Left a, const float* b, std::size_t b_stride, int rows, int inner, int columns, float* out,
                                std::size_t out_stride) {
  for (; rows >= 4; rows -= 4, a.data += 4 * a.stride, out += 4 * out_stride) {
    multiply_rows<4>(a, b, b_stride, inner, columns, out, out_stride);
  }
  if (rows == 3) multiply_rows<3>(a, b, b_stride, inner, columns, out, out_stride);
  if (rows == 2) multiply_rows<2>(a, b, b_stride, inner, columns, out, out_stride);
  if (rows == 1) multiply_rows<1>(a, b, b_stride, inner, columns, out, out_stride);
}

}  // namespace HWY_NAMESPACE
}  // namespace imagecalc
HWY_AFTER_NAMESPACE();

#endif
