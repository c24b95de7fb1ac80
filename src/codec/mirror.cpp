#include "codec/mirror.h"

#include <algorithm>

#include "format/error.h"

namespace imagecalc {

bool mirrors_exactly(const Format& format, int coded_width) {
  return coded_width % format.block == 0 && !halves_columns(format.subsampling);
}

Coefficients mirrored(Coefficients coefficients) {
  if (!mirrors_exactly(coefficients.format, coefficients.coded_width)) {
    throw Error(Fault::invalid_argument, "a picture with padded or left out columns is not mirrored by its coefficients");
  }
  const Geometry geometry = coefficients.geometry();
  auto row = coefficients.values.begin();
  for (int channel = 0; channel < coefficients.channels; ++channel) {
    for (const Frequency frequency : triangle(coefficients.format.kept)) {
      for (int down = 0; down < geometry.blocks_down; ++down, row += geometry.blocks_across) {
        std::reverse(row, row + geometry.blocks_across);
        if (frequency.j % 2 == 1) std::for_each_n(row, geometry.blocks_across, [](std::int32_t& value) { value = -value; });
      }
    }
  }
  return coefficients;
}

}  // namespace imagecalc
