// Loops over long runs of samples and coefficients, for every CPU path.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagecalc {

// planes: three runs of count, from interleaved triples.
void deinterleave(const float* triples, std::size_t count, float* const planes[3]);

// JFIF's full-range RGB -> YCbCr, in place, with every result multiplied by factor. Linear: samples or their coefficients.
void rgb_to_ycbcr(float* red, float* green, float* blue, std::size_t count, float factor);

void multiply_by(float factor, float* values, std::size_t count);

// out = the sum of weights[n] * rows[n * stride], from the first row on.
void blend_rows(const std::uint8_t* rows, std::size_t stride, const float* weights, int count, std::size_t samples,
                float* out);

}  // namespace imagecalc
