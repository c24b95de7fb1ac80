#include "codec/dequantize.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/dequantize.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace imagecalc {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void dequantize_any(const std::int16_t* blocks, const std::uint8_t* in_sixteenths, std::size_t count, const float* steps,
                    float* out, std::size_t stride) {
  constexpr std::size_t kBlock = 8;
  const hn::CappedTag<float, kBlock> d;
  const hn::Rebind<std::int32_t, decltype(d)> whole;
  const hn::Rebind<std::int16_t, decltype(d)> narrow;
  alignas(64) float sixteenths[kBlock * kBlock];
  std::fill_n(sixteenths, kBlock * kBlock, 1.0f / 16);
  const auto largest = hn::Set(d, 4096.0f), smallest = hn::Set(d, -4096.0f);
  for (std::size_t block = 0; block < count; ++block, blocks += kBlock * kBlock, out += kBlock) {
    const float* factors = in_sixteenths != nullptr && in_sixteenths[block] != 0 ? sixteenths : steps;
    for (std::size_t v = 0; v < kBlock; ++v) {
      for (std::size_t u = 0; u < kBlock; u += hn::Lanes(d)) {
        const auto level = hn::ConvertTo(d, hn::PromoteTo(whole, hn::LoadU(narrow, blocks + v * kBlock + u)));
        const auto value = hn::Mul(level, hn::LoadU(d, factors + v * kBlock + u));
        hn::StoreU(hn::Min(hn::Max(value, smallest), largest), d, out + v * stride + u);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace imagecalc
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace imagecalc {

HWY_EXPORT(dequantize_any);

void dequantize(const std::int16_t* blocks, const std::uint8_t* in_sixteenths, std::size_t count, const float* steps,
                float* out, std::size_t stride) {
  HWY_DYNAMIC_DISPATCH(dequantize_any)(blocks, in_sixteenths, count, steps, out, stride);
}

}  // namespace imagecalc
#endif
