#include <algorithm>

#include "codec/dct.h"
#include "codec/transform.h"

namespace imagecalc {
namespace {

// Puts the missing rows and columns of a subsampled plane between their neighbours; the last one is repeated.
// plane: row_length samples a row.
void interpolate(const float* plane, const Geometry& geometry, std::size_t row_length, Subsampling subsampling, int width,
                 int height, float* out, const Interrupt& interrupt) {
  const bool rows = halves_rows(subsampling), columns = halves_columns(subsampling);
  for (int y = 0; y < height; ++y) {
    interrupt.check();
    const float* above = plane + (rows ? y / 2 : y) * row_length;
    const float* below = rows && y % 2 == 1 && y / 2 + 1 < geometry.plane_height ? above + row_length : above;
    if (!columns && above == below) {
      out = std::copy_n(above, width, out);
      continue;
    }
    for (int x = 0; x < width; ++x) {
      const int left = columns ? x / 2 : x;
      const int right = columns && x % 2 == 1 && left + 1 < geometry.plane_width ? left + 1 : left;
      *out++ = (above[left] + above[right] + below[left] + below[right]) / 4;
    }
  }
}

// One channel's blocks, from its coefficients to samples minus 128.
class Inversion {
 public:
  Inversion(const Geometry& geometry, const Format& format)
      : geometry_(geometry), format_(format), dct_{format.block, format.kept},
        padded_(std::size_t(geometry.blocks_across) * format.block) {
    const std::size_t lines = std::size_t(format.kept) * geometry.blocks_across;
    halves_.resize((lines + kTileColumns - 1) / kTileColumns * kTileColumns * format.block);
  }

  // The samples of one row of blocks. values: its first block's coefficient (0,0); out: padded rows.
  void invert_strip(const std::int32_t* values, float* out, const Interrupt& interrupt) {
    const int lines = format_.kept * geometry_.blocks_across;
    for (int line = 0; line < lines; line += kTileColumns) {
      interrupt.check();
      invert_rows(values, line, std::min(line + kTileColumns, lines));
    }
    invert_columns(out, interrupt);
  }

 private:
  // Horizontally, of the vertical frequencies i: the lines (i, block) from `begin` on, one a column of the tile.
  void invert_rows(const std::int32_t* values, int begin, int end) {
    const std::size_t blocks = static_cast<std::size_t>(geometry_.blocks());
    const float factor = static_cast<float>(format_.quantizer) * (2.0f / static_cast<float>(format_.block));
    const int present = format_.kept - begin / geometry_.blocks_across;
    alignas(64) float tile[kMaxBlock * kTileColumns];
    std::fill_n(tile, present * kTileColumns, 0.0f);
    for (int line = begin; line < end; ++line) {
      const int i = line / geometry_.blocks_across, across = line % geometry_.blocks_across;
      for (int j = 0; j < format_.kept - i; ++j) {
        tile[j * kTileColumns + line - begin] = factor * static_cast<float>(values[triangle_index(i, j) * blocks + across]);
      }
    }
    inverse_dct_across(dct_, tile, present, halves_.data() + std::size_t(begin) * format_.block);
  }

  // Vertically; a narrow picture is widened to a tile.
  void invert_columns(float* out, const Interrupt& interrupt) {
    interrupt.check();
    if (padded_ >= kTileColumns) {
      inverse_dct_down(dct_, halves_.data(), padded_, format_.kept, static_cast<int>(padded_), out, padded_);
      return;
    }
    std::vector<float> wide(std::size_t(format_.kept) * kTileColumns), rows(std::size_t(format_.block) * kTileColumns);
    for (int i = 0; i < format_.kept; ++i) {
      std::copy_n(halves_.data() + i * padded_, padded_, wide.data() + std::size_t(i) * kTileColumns);
    }
    inverse_dct_down(dct_, wide.data(), kTileColumns, format_.kept, kTileColumns, rows.data(), kTileColumns);
    for (int n = 0; n < format_.block; ++n) {
      std::copy_n(rows.data() + std::size_t(n) * kTileColumns, padded_, out + n * padded_);
    }
  }

  const Geometry geometry_;
  const Format format_;
  const Dct dct_;
  const std::size_t padded_;
  std::vector<float> halves_;  // [frequency i][place in a row of blocks]
};

// The planes at the coded size, in YCbCr minus 128.
Planes rebuild_planes(const Coefficients& coefficients, const Interrupt& interrupt) {
  const Format& format = coefficients.format;
  const Geometry geometry = coefficients.geometry();
  const std::size_t padded = std::size_t(geometry.blocks_across) * format.block;
  const std::size_t channel = static_cast<std::size_t>(triangle_size(format.kept) * geometry.blocks());
  Planes planes{coefficients.coded_width, coefficients.coded_height, coefficients.channels, {}};
  planes.samples.resize(std::size_t(planes.width) * planes.height * planes.channels);
  std::vector<float> plane(padded * format.block * geometry.blocks_down);
  Inversion inversion(geometry, format);
  for (int c = 0; c < planes.channels; ++c) {
    for (int down = 0; down < geometry.blocks_down; ++down) {
      inversion.invert_strip(coefficients.values.data() + c * channel + std::size_t(down) * geometry.blocks_across,
                             plane.data() + padded * format.block * down, interrupt);
    }
    interpolate(plane.data(), geometry, padded, format.subsampling, planes.width, planes.height, planes.plane(c), interrupt);
  }
  return planes;
}

std::uint8_t to_sample(float value) { return static_cast<std::uint8_t>(std::clamp(value, 0.0f, 255.0f) + 0.5f); }

void to_rgb(const float* y, const float* cb, const float* cr, int count, std::uint8_t* out) {
  for (int n = 0; n < count; ++n) {
    *out++ = to_sample(y[n] + 128.0f + 1.402f * cr[n]);
    *out++ = to_sample(y[n] + 128.0f - 0.344136286f * cb[n] - 0.714136286f * cr[n]);
    *out++ = to_sample(y[n] + 128.0f + 1.772f * cb[n]);
  }
}

Picture to_picture(const Planes& planes, const Interrupt& interrupt) {
  Picture picture{planes.width, planes.height, planes.channels, {}};
  picture.samples.resize(planes.samples.size());
  for (int row = 0; row < planes.height; ++row) {
    interrupt.check();
    const std::size_t begin = std::size_t(row) * planes.width;
    const float* y = planes.plane(0) + begin;
    std::uint8_t* out = picture.samples.data() + begin * planes.channels;
    if (planes.channels == 1) {
      std::transform(y, y + planes.width, out, [](float value) { return to_sample(value + 128.0f); });
    } else {
      to_rgb(y, planes.plane(1) + begin, planes.plane(2) + begin, planes.width, out);
    }
  }
  return picture;
}

}  // namespace

Picture rebuild(const Coefficients& coefficients, const Interrupt& interrupt) {
  return to_picture(rebuild_planes(coefficients, interrupt), interrupt);
}

}  // namespace imagecalc
