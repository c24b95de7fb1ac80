// The DCT of JPEG's blocks, in vectors of up to 8 columns, compiled once a CPU path by the files that include this
// (Highway's foreach_target.h).
#if defined(IMAGECALC_CODEC_DCT8_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef IMAGECALC_CODEC_DCT8_INL_H_
#undef IMAGECALC_CODEC_DCT8_INL_H_
#else
#define IMAGECALC_CODEC_DCT8_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>

#include "codec/jpeg.h"

HWY_BEFORE_NAMESPACE();
namespace imagecalc {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, kJpegBlock>;
using Float = hn::Vec<Floats>;

HWY_INLINE Float load(const float* place) { return hn::LoadU(Floats(), place); }
HWY_INLINE void store(Float value, float* place) { hn::StoreU(value, Floats(), place); }
HWY_INLINE Float times(Float value, float factor) { return hn::Mul(value, hn::Set(Floats(), factor)); }

constexpr float kRootOfHalf = 0.707106781f, kCosine = 0.923879533f, kSine = 0.382683432f;
constexpr float kHalfSecants[] = {0.509795579f, 0.601344887f, 0.899976223f, 2.562915448f};

struct Four {
  Float a, b, c, d;
};

// DCTs of four places, without factors.
HWY_INLINE Four forward_of_4(Float a, Float b, Float c, Float d) {
  const Float outer = hn::Add(a, d), inner = hn::Add(b, c), slope = hn::Sub(a, d), twist = hn::Sub(b, c);
  return {hn::Add(outer, inner), hn::Add(times(slope, kCosine), times(twist, kSine)),
          times(hn::Sub(outer, inner), kRootOfHalf), hn::Sub(times(slope, kSine), times(twist, kCosine))};
}

HWY_INLINE Four inverse_of_4(Float a, Float b, Float c, Float d) {
  const Float middle = times(c, kRootOfHalf), up = hn::Add(a, middle), down = hn::Sub(a, middle);
  const Float outer = hn::Add(times(b, kCosine), times(d, kSine)), inner = hn::Sub(times(b, kSine), times(d, kCosine));
  return {hn::Add(up, outer), hn::Add(down, inner), hn::Sub(down, inner), hn::Sub(up, outer)};
}

// Down the columns of a block, in place: B. G. Lee's split, as in dct.h.
HWY_INLINE void forward_down(float* block) {
  for (std::size_t x = 0; x < kJpegBlock; x += hn::Lanes(Floats())) {
    const auto row = [&](int n) HWY_ATTR { return load(block + n * kJpegBlock + x); };
    const auto sum = [&](int n) HWY_ATTR { return hn::Add(row(n), row(7 - n)); };
    const auto difference = [&](int n) HWY_ATTR { return times(hn::Sub(row(n), row(7 - n)), kHalfSecants[n]); };
    const Four even = forward_of_4(sum(0), sum(1), sum(2), sum(3));
    const Four odd = forward_of_4(difference(0), difference(1), difference(2), difference(3));
    const Float rows[] = {even.a, hn::Add(odd.a, odd.b), even.b, hn::Add(odd.b, odd.c),
                          even.c, hn::Add(odd.c, odd.d), even.d, odd.d};
    for (int n = 0; n < kJpegBlock; ++n) store(rows[n], block + n * kJpegBlock + x);
  }
}

HWY_INLINE void inverse_down(float* block) {
  for (std::size_t x = 0; x < kJpegBlock; x += hn::Lanes(Floats())) {
    const auto row = [&](int n) HWY_ATTR { return load(block + n * kJpegBlock + x); };
    const Four even = inverse_of_4(row(0), row(2), row(4), row(6));
    const Four odd =
        inverse_of_4(row(1), hn::Add(row(1), row(3)), hn::Add(row(3), row(5)), hn::Add(row(5), row(7)));
    const Float sums[] = {even.a, even.b, even.c, even.d}, odds[] = {odd.a, odd.b, odd.c, odd.d};
    for (int n = 0; n < 4; ++n) {
      const Float difference = times(odds[n], kHalfSecants[n]);
      store(hn::Add(sums[n], difference), block + n * kJpegBlock + x);
      store(hn::Sub(sums[n], difference), block + (7 - n) * kJpegBlock + x);
    }
  }
}

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void transpose(const float* in, float* out) {
  for (int n = 0; n < kJpegArea; ++n) out[n % kJpegBlock * kJpegBlock + n / kJpegBlock] = in[n];
}
#else
// Four rows; each four columns of theirs are turned apart.
HWY_INLINE Four turn(const float* rows) {
  const Float a = load(rows), b = load(rows + kJpegBlock), c = load(rows + 2 * kJpegBlock), d = load(rows + 3 * kJpegBlock);
  const Float left = hn::InterleaveLower(Floats(), a, c), left_odd = hn::InterleaveLower(Floats(), b, d);
  const Float right = hn::InterleaveUpper(Floats(), a, c), right_odd = hn::InterleaveUpper(Floats(), b, d);
  return {hn::InterleaveLower(Floats(), left, left_odd), hn::InterleaveUpper(Floats(), left, left_odd),
          hn::InterleaveLower(Floats(), right, right_odd), hn::InterleaveUpper(Floats(), right, right_odd)};
}

// A vector is loaded as it was stored: the CPU would wait for one that it has to put together from two.
HWY_INLINE void transpose(const float* in, float* out) {
  for (std::size_t x = 0; x < kJpegBlock; x += hn::Lanes(Floats())) {
    const Four top = turn(in + x), bottom = turn(in + kJpegArea / 2 + x);
    const Float tops[] = {top.a, top.b, top.c, top.d}, bottoms[] = {bottom.a, bottom.b, bottom.c, bottom.d};
    float* to = out + x * kJpegBlock;
    for (int n = 0; n < 4; ++n, to += kJpegBlock) {
#if HWY_MAX_BYTES >= 32
      store(hn::ConcatLowerLower(Floats(), bottoms[n], tops[n]), to);
      store(hn::ConcatUpperUpper(Floats(), bottoms[n], tops[n]), to + kJpegArea / 2);
#else
      store(tops[n], to);
      store(bottoms[n], to + kJpegBlock / 2);
#endif
    }
  }
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace imagecalc
HWY_AFTER_NAMESPACE();

#endif
