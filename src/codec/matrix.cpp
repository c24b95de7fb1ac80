#include "codec/matrix.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/matrix.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "codec/multiply-inl.h"

HWY_BEFORE_NAMESPACE();
namespace imagecalc {
namespace HWY_NAMESPACE {

void multiply_any(const float* a, std::size_t a_stride, const float* b, std::size_t b_stride, int rows, int inner,
                  int columns, float* out, std::size_t out_stride) {
  multiply_kernel({a, a_stride, 1}, b, b_stride, rows, inner, columns, out, out_stride);
}

}  // namespace HWY_NAMESPACE
}  // namespace imagecalc
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace imagecalc {

HWY_EXPORT(multiply_any);

void multiply(const float* a, std::size_t a_stride, const float* b, std::size_t b_stride, int rows, int inner, int columns,
              float* out, std::size_t out_stride) {
  HWY_DYNAMIC_DISPATCH(multiply_any)(a, a_stride, b, b_stride, rows, inner, columns, out, out_stride);
}

}  // namespace imagecalc
#endif
