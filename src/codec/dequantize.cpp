#include "codec/dequantize.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/dequantize.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace imagecalc {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void dequantize_any(const std::int16_t* blocks, std::size_t count, const float* steps, float* out, std::size_t stride) {
  constexpr std::size_t kBlock = 8;
  const hn::CappedTag<float, kBlock> d;
  const hn::Rebind<std::int32_t, decltype(d)> whole;
  const hn::Rebind<std::int16_t, decltype(d)> narrow;
  const auto largest = hn::Set(d, 4096.0f), smallest = hn::Set(d, -4096.0f);
  for (std::size_t block = 0; block < count; ++block, blocks += kBlock * kBlock, out += kBlock) {
    for (std::size_t v = 0; v < kBlock; ++v) {
      for (std::size_t u = 0; u < kBlock; u += hn::Lanes(d)) {
        const auto level = hn::ConvertTo(d, hn::PromoteTo(whole, hn::LoadU(narrow, blocks + v * kBlock + u)));
        const auto value = hn::Mul(level, hn::LoadU(d, steps + v * kBlock + u));
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

void dequantize(const std::int16_t* blocks, std::size_t count, const float* steps, float* out, std::size_t stride) {
  HWY_DYNAMIC_DISPATCH(dequantize_any)(blocks, count, steps, out, stride);
}

}  // namespace imagecalc
#endif
