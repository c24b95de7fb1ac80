#include "codec/tensor.h"

#include <algorithm>

namespace imagecalc {
namespace {

constexpr int kTensorChannels = 3;

// Writes one channel of the tensor: `affine` of each value in its place, 0 elsewhere.
// values: [frequency in triangle order][block].
template <typename Affine>
void place_channel(const std::int32_t* values, const Format& format, const Geometry& geometry, Affine affine, float* out) {
  const int kept = format.kept;
  std::fill_n(out, geometry.tensor_area(), 0.0f);
  for (int i = 0; i < kept; ++i) {
    for (int j = 0; i + j < kept; ++j) {
      const std::int32_t* next = values + triangle_index(i, j) * static_cast<std::size_t>(geometry.blocks());
      float* row = out + std::size_t(i) * geometry.tensor_width + j;
      for (int down = 0; down < geometry.blocks_down; ++down, row += std::size_t(kept) * geometry.tensor_width) {
        for (int across = 0; across < geometry.blocks_across; ++across) row[std::size_t(across) * kept] = affine(*next++);
      }
    }
  }
}

// A gray picture's chroma: every coefficient is 0.
const std::int32_t* channel_or_zeros(const Coefficients& coefficients, int c, std::vector<std::int32_t>& zeros) {
  const std::size_t size = coefficients.values.size() / coefficients.channels;
  if (c < coefficients.channels) return coefficients.values.data() + c * size;
  zeros.resize(size);
  return zeros.data();
}

}  // namespace

void place_normalised(const Coefficients& coefficients, const Normalisation& normalisation, float* out) {
  const Geometry geometry = coefficients.geometry();
  std::vector<std::int32_t> zeros;
  for (int c = 0; c < kTensorChannels; ++c) {
    const float factor = static_cast<float>(coefficients.format.quantizer) / normalisation.deviation[c];
    const float shift = -normalisation.mean[c] / normalisation.deviation[c];
    auto affine = [=](std::int32_t value) { return static_cast<float>(value) * factor + shift; };
    place_channel(channel_or_zeros(coefficients, c, zeros), coefficients.format, geometry, affine,
                  out + static_cast<std::size_t>(geometry.tensor_area()) * c);
  }
}

void place(const Coefficients& coefficients, float* out) { place_normalised(coefficients, Normalisation{}, out); }

void place_rgb(const Picture& picture, const Box& box, int size, const Normalisation& normalisation, float* out) {
  const Planes planes = scale(picture, box, size, size);
  const std::size_t area = std::size_t(size) * size;
  for (int c = 0; c < kTensorChannels; ++c, out += area) {
    const float factor = 1.0f / (255.0f * normalisation.deviation[c]);
    const float shift = -normalisation.mean[c] / normalisation.deviation[c];
    const float* plane = planes.plane(std::min(c, planes.channels - 1));
    std::transform(plane, plane + area, out, [=](float sample) { return sample * factor + shift; });
  }
}

TensorSize tensor_size(const ModelInput& input) {
  if (input.rgb) return {input.rgb_size, input.rgb_size};
  if (input.format.size == 0) {
    throw Error(Fault::invalid_argument, "image format " + to_string(input.format) + " has no size",
                "Use a format with a size, as in " + to_string(input.format) + "@256.");
  }
  const Geometry result = geometry(input.format, input.format.size, input.format.size);
  return {result.tensor_height, result.tensor_width};
}

}  // namespace imagecalc
