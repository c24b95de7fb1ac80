#include "codec/samples.h"

#include <limits>

#include "codec/transform.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/samples.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace imagecalc {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Calls action(tag, place) for whole vectors, then for what is left one by one.
template <class Action>
HWY_INLINE void for_each_place(std::size_t count, Action action) {
  const hn::ScalableTag<float> d;
  std::size_t n = 0;
  for (; n + hn::Lanes(d) <= count; n += hn::Lanes(d)) action(d, n);
  for (; n < count; ++n) action(hn::CappedTag<float, 1>(), n);
}

void split_triples(const float* triples, std::size_t count, float* const planes[3]) {
  for_each_place(count, [=](auto d, std::size_t n) HWY_ATTR {
    hn::Vec<decltype(d)> first, second, third;
    hn::LoadInterleaved3(d, triples + 3 * n, first, second, third);
    hn::StoreU(first, d, planes[0] + n);
    hn::StoreU(second, d, planes[1] + n);
    hn::StoreU(third, d, planes[2] + n);
  });
}

template <class D>
HWY_INLINE hn::Vec<D> weighted_sum(D d, hn::Vec<D> red, hn::Vec<D> green, hn::Vec<D> blue, const float* weights) {
  const auto sum = hn::Add(hn::Mul(red, hn::Set(d, weights[0])), hn::Mul(green, hn::Set(d, weights[1])));
  return hn::Add(sum, hn::Mul(blue, hn::Set(d, weights[2])));
}

void convert_colours(float* red, float* green, float* blue, std::size_t count, float factor) {
  float weights[3][3] = {
      {0.299f, 0.587f, 0.114f}, {-0.168735892f, -0.331264108f, 0.5f}, {0.5f, -0.418687589f, -0.081312411f}};
  for (auto& row : weights) {
    for (float& weight : row) weight *= factor;
  }
  for_each_place(count, [=](auto d, std::size_t n) HWY_ATTR {
    const auto r = hn::LoadU(d, red + n), g = hn::LoadU(d, green + n), b = hn::LoadU(d, blue + n);
    hn::StoreU(weighted_sum(d, r, g, b, weights[0]), d, red + n);
    hn::StoreU(weighted_sum(d, r, g, b, weights[1]), d, green + n);
    hn::StoreU(weighted_sum(d, r, g, b, weights[2]), d, blue + n);
  });
}

void scale_values(float factor, float* values, std::size_t count) {
  for_each_place(count, [=](auto d, std::size_t n) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, values + n), hn::Set(d, factor)), d, values + n);
  });
}

// Adding 1.5 * 2^23 leaves no bits for a fraction, so the sum is rounded to nearest even, as IEEE 754 says. Coefficients of
// 8-bit samples stay far below its limit, 2^22.
void quantize_values(const float* coefficients, std::size_t count, int quantizer, std::int32_t* values) {
  static_assert(std::numeric_limits<float>::is_iec559);
  constexpr float kRound = 12582912.0f;
  const float divisor = static_cast<float>(quantizer);
  for_each_place(count, [=](auto d, std::size_t n) HWY_ATTR {
    const auto round = hn::Set(d, kRound);
    const auto quotient = hn::Div(hn::LoadU(d, coefficients + n), hn::Set(d, divisor));
    const hn::Rebind<std::int32_t, decltype(d)> whole;
    hn::StoreU(hn::ConvertTo(whole, hn::Sub(hn::Add(quotient, round), round)), whole, values + n);
  });
}

void blend(const std::uint8_t* rows, std::size_t stride, const float* weights, int count, std::size_t samples, float* out) {
  for_each_place(samples, [=](auto d, std::size_t n) HWY_ATTR {
    const hn::Rebind<std::int32_t, decltype(d)> whole;
    const hn::Rebind<std::uint8_t, decltype(d)> byte;
    auto sum = hn::Zero(d);
    const std::uint8_t* place = rows + n;
    for (int tap = 0; tap < count; ++tap, place += stride) {
      const auto sample = hn::ConvertTo(d, hn::PromoteTo(whole, hn::LoadU(byte, place)));
      sum = hn::Add(sum, hn::Mul(hn::Set(d, weights[tap]), sample));
    }
    hn::StoreU(sum, d, out + n);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace imagecalc
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace imagecalc {

HWY_EXPORT(split_triples);
HWY_EXPORT(convert_colours);
HWY_EXPORT(scale_values);
HWY_EXPORT(quantize_values);
HWY_EXPORT(blend);

void deinterleave(const float* triples, std::size_t count, float* const planes[3]) {
  HWY_DYNAMIC_DISPATCH(split_triples)(triples, count, planes);
}

void rgb_to_ycbcr(float* red, float* green, float* blue, std::size_t count, float factor) {
  HWY_DYNAMIC_DISPATCH(convert_colours)(red, green, blue, count, factor);
}

void multiply_by(float factor, float* values, std::size_t count) {
  HWY_DYNAMIC_DISPATCH(scale_values)(factor, values, count);
}

void quantize(const float* coefficients, std::size_t count, int quantizer, std::int32_t* values) {
  HWY_DYNAMIC_DISPATCH(quantize_values)(coefficients, count, quantizer, values);
}

void blend_rows(const std::uint8_t* rows, std::size_t stride, const float* weights, int count, std::size_t samples,
                float* out) {
  HWY_DYNAMIC_DISPATCH(blend)(rows, stride, weights, count, samples, out);
}

}  // namespace imagecalc
#endif
