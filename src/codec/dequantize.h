// JPEG's quantized coefficients as numbers, on every CPU path.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagecalc {

// blocks: `count` of 8 x 8 side by side. in_sixteenths: for each, whether it is in sixteenths and not in steps; null if none
// is. out: their 8 rows of coefficients in place, stride apart. A sound file's values are
// below 1024 and half a step; what lies outside +-4096 is cut, so that a hostile file's sums stay far within int32.
void dequantize(const std::int16_t* blocks, const std::uint8_t* in_sixteenths, std::size_t count, const float* steps,
                float* out, std::size_t stride);

}  // namespace imagecalc
