// Coefficients and pixels as the tensors that models read: [3][nH*k][nW*k], each block's k x k corner in place.
#pragma once

#include "codec/value.h"

namespace imagecalc {

// Dequantized, not normalised: 0 outside the triangle; chroma 0 for gray.
void place(const StoredImage& image, float* out);
void place(const Coefficients& coefficients, float* out);

// The same, normalised: (value - mean) / deviation inside the triangle (gray's chroma too), exactly 0 outside it.
void place_normalised(const StoredImage& image, const Normalisation& normalisation, float* out);
void place_normalised(const Coefficients& coefficients, const Normalisation& normalisation, float* out);

// For accelerators that compute in integers: value / scale of each channel, rounded to nearest (ties to even) and saturated;
// a place outside the triangle is 0. With a scale equal to the format's quantizer these are the stored integers. Scales must
// be above 0: Error(invalid_argument).
using Scales = std::array<float, 3>;
void place_scaled(const StoredImage& image, const Scales& scales, std::int8_t* out);
void place_scaled(const StoredImage& image, const Scales& scales, std::int16_t* out);

// Reads and places a batch of values of one format and size, one after the other: out is [values][3][nH*k][nW*k]. A value of
// another format or shape than the first is an Error(wrong_format); otherwise as read_image.
void read_batch(std::span<const Bytes> values, const Limits& limits, const Normalisation& normalisation, float* out,
                const Interrupt& interrupt = {});

// RGB in 0..1, scaled to size x size, normalised: out is [3][size][size]. Gray is repeated.
void place_rgb(const Picture& picture, const Box& box, int size, const Normalisation& normalisation, float* out);

// Rows and columns of the tensor that a model with this input reads. A native-size format has none before its value is
// known: Error(invalid_argument).
struct TensorSize {
  int height, width;
  auto operator<=>(const TensorSize&) const = default;
};
TensorSize tensor_size(const ModelInput& input);

}  // namespace imagecalc
