// Coefficients and pixels as the float tensors that models read.
#pragma once

#include "codec/transform.h"

namespace imagecalc {

// Dequantized, not normalised: out is [3][nH*k][nW*k]; each block's k x k corner in place, 0 outside the triangle;
// chroma 0 for gray.
void place(const Coefficients& coefficients, float* out);

// The same, normalised: (value - mean) / deviation inside the triangle (gray's chroma too), exactly 0 outside it.
void place_normalised(const Coefficients& coefficients, const Normalisation& normalisation, float* out);

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
