// The codec's formulas, written down a second time: in double precision, plainly, and with nothing shared but the types.
#pragma once

#include <cmath>
#include <numbers>
#include <vector>

#include "codec/picture.h"
#include "format/format.h"

namespace imagecalc::test {

// One channel: [height][width].
struct Matrix {
  int height = 0, width = 0;
  std::vector<double> values;

  Matrix() = default;
  Matrix(int rows, int columns) : height(rows), width(columns), values(std::size_t(rows) * columns) {}
  double& at(int y, int x) { return values[std::size_t(y) * width + x]; }
  double at(int y, int x) const { return values[std::size_t(y) * width + x]; }
};

// The weight that source sample n has in scaled sample i: a triangle around i's centre, as wide as the reduction.
inline std::vector<double> reference_weights(int source, int target, int i) {
  const double step = double(source) / target, support = std::max(1.0, step), centre = (i + 0.5) * step;
  std::vector<double> weights;
  double sum = 0;
  for (int n = 0; n < source; ++n) {
    weights.push_back(std::max(0.0, 1 - std::abs(n + 0.5 - centre) / support));
    sum += weights.back();
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

inline Matrix channel_of(const Picture& picture, int channel) {
  Matrix result(picture.height, picture.width);
  for (std::size_t n = 0; n < result.values.size(); ++n) result.values[n] = picture.samples[n * picture.channels + channel];
  return result;
}

// Horizontally first. Scaled to its own size, a picture has all weights 1 or 0: that is left out, since it takes long.
inline Matrix reference_scale(const Matrix& source, int width, int height) {
  if (source.width == width && source.height == height) return source;
  Matrix narrow(source.height, width), result(height, width);
  for (int x = 0; x < width; ++x) {
    const auto weights = reference_weights(source.width, width, x);
    for (int y = 0; y < source.height; ++y) {
      for (int n = 0; n < source.width; ++n) narrow.at(y, x) += weights[n] * source.at(y, n);
    }
  }
  for (int y = 0; y < height; ++y) {
    const auto weights = reference_weights(source.height, height, y);
    for (int x = 0; x < width; ++x) {
      for (int n = 0; n < source.height; ++n) result.at(y, x) += weights[n] * narrow.at(n, x);
    }
  }
  return result;
}

// Scaled, in YCbCr (or gray), minus 128.
inline std::vector<Matrix> reference_planes(const Picture& picture, int width, int height) {
  std::vector<Matrix> planes;
  for (int c = 0; c < picture.channels; ++c) planes.push_back(reference_scale(channel_of(picture, c), width, height));
  for (std::size_t n = 0; n < planes[0].values.size(); ++n) {
    const double red = planes[0].values[n];
    planes[0].values[n] = red - 128;
    if (picture.channels == 1) continue;
    const double green = planes[1].values[n], blue = planes[2].values[n];
    const double luma = 0.299 * red + 0.587 * green + 0.114 * blue;
    planes[0].values[n] = luma - 128;
    planes[1].values[n] = (blue - luma) / 1.772;
    planes[2].values[n] = (red - luma) / 1.402;
  }
  return planes;
}

// Rows and columns 0, 2, 4... where subsampled; then the last row and column repeated up to whole blocks.
inline Matrix reference_blocks(const Matrix& plane, Subsampling subsampling, int block) {
  const int down = subsampling == Subsampling::rows || subsampling == Subsampling::both ? 2 : 1;
  const int across = subsampling == Subsampling::columns || subsampling == Subsampling::both ? 2 : 1;
  const int rows = (plane.height + down - 1) / down, columns = (plane.width + across - 1) / across;
  Matrix result((rows + block - 1) / block * block, (columns + block - 1) / block * block);
  for (int y = 0; y < result.height; ++y) {
    for (int x = 0; x < result.width; ++x) {
      result.at(y, x) = plane.at(std::min(y, rows - 1) * down, std::min(x, columns - 1) * across);
    }
  }
  return result;
}

inline double reference_cosine(int block, int frequency, int place) {
  return std::cos((2 * place + 1) * frequency * std::numbers::pi / (2 * block));
}

inline double reference_norm(int frequency) { return frequency == 0 ? 1 / std::sqrt(2.0) : 1; }

// DCT[i,j] of the block at (top, left), straight from the definition.
inline double reference_coefficient(const Matrix& blocks, int block, int top, int left, int i, int j) {
  double sum = 0;
  for (int k = 0; k < block; ++k) {
    for (int l = 0; l < block; ++l) {
      sum += blocks.at(top + k, left + l) * reference_cosine(block, i, k) * reference_cosine(block, j, l);
    }
  }
  return 2.0 / block * reference_norm(i) * reference_norm(j) * sum;
}

// All coefficients of all blocks in place. The double sum is split in two, since the definition would take minutes.
inline Matrix reference_dct(const Matrix& blocks, int block) {
  Matrix cosines(block, block), half(blocks.height, blocks.width), result(blocks.height, blocks.width);
  for (int i = 0; i < block; ++i) {
    for (int k = 0; k < block; ++k) cosines.at(i, k) = reference_norm(i) * reference_cosine(block, i, k);
  }
  for (int y = 0; y < blocks.height; ++y) {
    for (int x = 0; x < blocks.width; ++x) {
      const int left = x / block * block;
      for (int l = 0; l < block; ++l) half.at(y, x) += blocks.at(y, left + l) * cosines.at(x - left, l);
    }
  }
  for (int y = 0; y < blocks.height; ++y) {
    const int top = y / block * block;
    for (int k = 0; k < block; ++k) {
      for (int x = 0; x < blocks.width; ++x) result.at(y, x) += 2.0 / block * half.at(top + k, x) * cosines.at(y - top, k);
    }
  }
  return result;
}

// Blocks of pixels from blocks of coefficients.
inline Matrix reference_inverse(const Matrix& coefficients, int block) {
  Matrix half(coefficients.height, coefficients.width), result(coefficients.height, coefficients.width);
  for (int y = 0; y < result.height; ++y) {
    for (int x = 0; x < result.width; ++x) {
      const int left = x / block * block;
      for (int j = 0; j < block; ++j) {
        half.at(y, x) += coefficients.at(y, left + j) * reference_norm(j) * reference_cosine(block, j, x - left);
      }
    }
  }
  for (int y = 0; y < result.height; ++y) {
    const int top = y / block * block;
    for (int i = 0; i < block; ++i) {
      const double factor = 2.0 / block * reference_norm(i) * reference_cosine(block, i, y - top);
      for (int x = 0; x < result.width; ++x) result.at(y, x) += factor * half.at(top + i, x);
    }
  }
  return result;
}

}  // namespace imagecalc::test
