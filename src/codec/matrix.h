// A matrix product whose result is the same bits on every CPU.
#pragma once

#include <cstddef>

namespace imagecalc {

// out [rows][columns] = a [rows][inner] x b [inner][columns]; a stride is the distance from a row to the next. Each sum is
// taken in the order of inner, with no fused multiply-add. out overlaps neither factor. Any sizes; fastest where columns is
// a multiple of 32.
void multiply(const float* a, std::size_t a_stride, const float* b, std::size_t b_stride, int rows, int inner, int columns,
              float* out, std::size_t out_stride);

}  // namespace imagecalc
