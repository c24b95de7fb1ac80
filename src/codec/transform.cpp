#include "codec/transform.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

namespace imagecalc {
namespace {

// The DCT's cosines for one block size B, scaled to be orthonormal.
struct Basis {
  int block = 0;
  std::vector<float> by_frequency;  // [frequency][place]
  std::vector<float> by_place;      // [place][frequency], its transpose
};

constexpr int kTile = 32;
constexpr int kSmallTile = 8;

// cosines: cos(pi n / 512), a full turn; the angle (2 place + 1) frequency pi / 2B is a whole number of those steps.
Basis make_basis(int block, const std::vector<double>& cosines) {
  Basis basis{block, std::vector<float>(std::size_t(block) * block), std::vector<float>(std::size_t(block) * block)};
  const std::size_t step = cosines.size() / (4 * std::size_t(block));
  for (int frequency = 0; frequency < block; ++frequency) {
    double scale = std::sqrt((frequency == 0 ? 1.0 : 2.0) / block);
    for (int place = 0; place < block; ++place) {
      std::size_t angle = std::size_t(2 * place + 1) * frequency * step % cosines.size();
      float value = static_cast<float>(scale * cosines[angle]);
      basis.by_frequency[std::size_t(frequency) * block + place] = value;
      basis.by_place[std::size_t(place) * block + frequency] = value;
    }
  }
  return basis;
}

std::array<Basis, kBlocks.size()> make_bases() {
  std::vector<double> cosines(4 * kMaxBlock);
  for (std::size_t n = 0; n < cosines.size(); ++n) cosines[n] = std::cos(std::numbers::pi * n / (2 * kMaxBlock));
  std::array<Basis, kBlocks.size()> bases;
  for (std::size_t n = 0; n < kBlocks.size(); ++n) bases[n] = make_basis(kBlocks[n], cosines);
  return bases;
}

const Basis& basis_of(int block) {
  static const std::array<Basis, kBlocks.size()> bases = make_bases();
  return *std::find_if(bases.begin(), bases.end(), [&](const Basis& basis) { return basis.block == block; });
}

// out[0..kWidth) = row[0..count) x matrix, summed in the order of the row.
template <int kWidth>
inline void multiply_tile(const float* row, int count, const float* matrix, std::size_t stride, float* out) {
  float sum[kWidth] = {};
  for (int n = 0; n < count; ++n, matrix += stride) {
    for (int x = 0; x < kWidth; ++x) sum[x] += row[n] * matrix[x];
  }
  std::copy_n(sum, kWidth, out);
}

// out[0..columns) = row[0..count) x matrix [count][stride]; columns a multiple of kSmallTile. A sum does not depend on
// how many columns are asked for.
void multiply(const float* row, int count, const float* matrix, std::size_t stride, int columns, float* out) {
  int x = 0;
  for (; x + kTile <= columns; x += kTile) multiply_tile<kTile>(row, count, matrix + x, stride, out + x);
  for (; x < columns; x += kSmallTile) multiply_tile<kSmallTile>(row, count, matrix + x, stride, out + x);
}

int round_up(int number, int step) { return (number + step - 1) / step * step; }

// The subsampled and padded rows of one row of blocks.
void gather(const float* plane, int width, const Geometry& geometry, Subsampling subsampling, int top, int block, int padded,
            float* strip) {
  const int down = halves_rows(subsampling) ? 2 : 1;
  for (int y = 0; y < block; ++y, strip += padded) {
    const float* row = plane + std::size_t(std::min(top + y, geometry.plane_height - 1)) * down * width;
    if (halves_columns(subsampling)) {
      for (int x = 0; x < geometry.plane_width; ++x) strip[x] = row[2 * x];
    } else {
      std::copy_n(row, geometry.plane_width, strip);
    }
    std::fill(strip + geometry.plane_width, strip + padded, strip[geometry.plane_width - 1]);
  }
}

// Transforms one row of blocks: out is the coefficient (0,0) of its first block, `blocks` apart from the next frequency.
void transform_strip(const float* strip, const Geometry& geometry, const Basis& basis, int kept, float* out,
                     const Interrupt& interrupt) {
  const int block = basis.block, padded = geometry.blocks_across * block;
  const std::size_t blocks = static_cast<std::size_t>(geometry.blocks());
  std::vector<float> row(padded);
  std::array<float, kMaxBlock> frequencies;
  for (int i = 0; i < kept; ++i) {
    interrupt.check();
    multiply(basis.by_frequency.data() + std::size_t(i) * block, block, strip, padded, padded, row.data());
    for (int across = 0; across < geometry.blocks_across; ++across) {
      const int columns = kept - i;
      multiply(row.data() + std::size_t(across) * block, block, basis.by_place.data(), block, round_up(columns, kSmallTile),
               frequencies.data());
      for (int j = 0; j < columns; ++j) out[triangle_index(i, j) * blocks + across] = frequencies[j];
    }
  }
}

// Puts the missing rows and columns of a subsampled plane between their neighbours; the last one is repeated.
// plane: row_length samples a row.
void interpolate(const float* plane, const Geometry& geometry, std::size_t row_length, Subsampling subsampling, int width,
                 int height, float* out) {
  const bool rows = halves_rows(subsampling), columns = halves_columns(subsampling);
  for (int y = 0; y < height; ++y) {
    const float* above = plane + (rows ? y / 2 : y) * row_length;
    const float* below = rows && y % 2 == 1 && y / 2 + 1 < geometry.plane_height ? above + row_length : above;
    for (int x = 0; x < width; ++x) {
      const int left = columns ? x / 2 : x;
      const int right = columns && x % 2 == 1 && left + 1 < geometry.plane_width ? left + 1 : left;
      *out++ = (above[left] + above[right] + below[left] + below[right]) / 4;
    }
  }
}

// The pixels of one row of blocks. values: its first block's coefficient (0,0).
void rebuild_strip(const std::int32_t* values, const Geometry& geometry, const Format& format, const Basis& basis,
                   float* out, const Interrupt& interrupt) {
  const int block = basis.block, padded = geometry.blocks_across * block;
  const std::size_t blocks = static_cast<std::size_t>(geometry.blocks());
  std::vector<float> rows(std::size_t(format.kept) * padded);
  std::array<float, kMaxBlock> frequencies;
  for (int i = 0; i < format.kept; ++i) {
    interrupt.check();
    const int columns = format.kept - i;
    for (int across = 0; across < geometry.blocks_across; ++across) {
      for (int j = 0; j < columns; ++j) {
        frequencies[j] = static_cast<float>(values[triangle_index(i, j) * blocks + across]) * format.quantizer;
      }
      multiply(frequencies.data(), columns, basis.by_frequency.data(), block, block,
               rows.data() + std::size_t(i) * padded + std::size_t(across) * block);
    }
  }
  for (int y = 0; y < block; ++y, out += padded) {
    interrupt.check();
    multiply(basis.by_place.data() + std::size_t(y) * block, format.kept, rows.data(), padded, padded, out);
  }
}

// The planes at the coded size, in YCbCr minus 128.
Planes rebuild_planes(const Coefficients& coefficients, const Interrupt& interrupt) {
  const Format& format = coefficients.format;
  const Geometry geometry = coefficients.geometry();
  const Basis& basis = basis_of(format.block);
  const std::size_t padded = std::size_t(geometry.blocks_across) * format.block;
  const std::size_t channel = static_cast<std::size_t>(triangle_size(format.kept) * geometry.blocks());
  Planes planes{coefficients.coded_width, coefficients.coded_height, coefficients.channels, {}};
  planes.samples.resize(std::size_t(planes.width) * planes.height * planes.channels);
  std::vector<float> plane(padded * geometry.blocks_down * format.block);
  for (int c = 0; c < planes.channels; ++c) {
    for (int down = 0; down < geometry.blocks_down; ++down) {
      rebuild_strip(coefficients.values.data() + c * channel + std::size_t(down) * geometry.blocks_across, geometry, format,
                    basis, plane.data() + padded * format.block * down, interrupt);
    }
    interpolate(plane.data(), geometry, padded, format.subsampling, planes.width, planes.height, planes.plane(c));
  }
  return planes;
}

std::uint8_t to_sample(float value) { return static_cast<std::uint8_t>(std::clamp(value, 0.0f, 255.0f) + 0.5f); }

Picture to_picture(const Planes& planes) {
  Picture picture{planes.width, planes.height, planes.channels, {}};
  picture.samples.resize(planes.samples.size());
  const std::size_t count = std::size_t(planes.width) * planes.height;
  const float* y = planes.plane(0);
  if (planes.channels == 1) {
    std::transform(y, y + count, picture.samples.begin(), [](float value) { return to_sample(value + 128.0f); });
    return picture;
  }
  const float *cb = planes.plane(1), *cr = planes.plane(2);
  std::uint8_t* out = picture.samples.data();
  for (std::size_t n = 0; n < count; ++n) {
    *out++ = to_sample(y[n] + 128.0f + 1.402f * cr[n]);
    *out++ = to_sample(y[n] + 128.0f - 0.344136286f * cb[n] - 0.714136286f * cr[n]);
    *out++ = to_sample(y[n] + 128.0f + 1.772f * cb[n]);
  }
  return picture;
}

}  // namespace

std::vector<float> transform(const Planes& ycbcr, Subsampling subsampling, int block, int kept, const Interrupt& interrupt) {
  const Format format{subsampling, block, kept, 1, 0};
  check(format);
  const Geometry geometry = imagecalc::geometry(format, ycbcr.width, ycbcr.height);
  const Basis& basis = basis_of(block);
  const int padded = geometry.blocks_across * block;
  const std::size_t channel = static_cast<std::size_t>(triangle_size(kept) * geometry.blocks());
  std::vector<float> coefficients(channel * ycbcr.channels);
  std::vector<float> strip(std::size_t(block) * padded);
  for (int c = 0; c < ycbcr.channels; ++c) {
    for (int down = 0; down < geometry.blocks_down; ++down) {
      gather(ycbcr.plane(c), ycbcr.width, geometry, subsampling, down * block, block, padded, strip.data());
      transform_strip(strip.data(), geometry, basis, kept,
                      coefficients.data() + c * channel + std::size_t(down) * geometry.blocks_across, interrupt);
    }
  }
  return coefficients;
}

// Adding 1.5 * 2^23 leaves no bits for a fraction, so the sum is rounded to nearest even, as IEEE 754 says; unlike the
// library's functions that is a vector instruction everywhere. Coefficients of 8-bit samples stay far below its limit, 2^22.
void quantize(const float* coefficients, std::size_t count, int quantizer, std::int32_t* values) {
  static_assert(std::numeric_limits<float>::is_iec559);
  constexpr float kRound = 12582912.0f;
  const float divisor = static_cast<float>(quantizer);
  for (std::size_t n = 0; n < count; ++n) {
    values[n] = static_cast<std::int32_t>((coefficients[n] / divisor + kRound) - kRound);
  }
}

Coefficients encode(const Picture& picture, const Box& box, const Format& format, const Interrupt& interrupt) {
  check(format);
  constexpr int kMaxEdge = 65535;
  Coefficients result;
  result.format = format;
  result.channels = picture.channels;
  result.coded_width = format.size > 0 ? format.size : box.width;
  result.coded_height = format.size > 0 ? format.size : box.height;
  result.source_width = static_cast<std::uint32_t>(box.width);
  result.source_height = static_cast<std::uint32_t>(box.height);
  if (result.coded_width > kMaxEdge || result.coded_height > kMaxEdge) {
    throw Error(Fault::limit_exceeded, "a picture's edge may be at most 65535 pixels", "Use a format with a size.");
  }
  Planes planes = scale(picture, box, result.coded_width, result.coded_height, interrupt);
  to_ycbcr(planes);
  std::vector<float> coefficients = transform(planes, format.subsampling, format.block, format.kept, interrupt);
  result.values.resize(coefficients.size());
  quantize(coefficients.data(), coefficients.size(), format.quantizer, result.values.data());
  return result;
}

Coefficients encode(const Picture& picture, const Format& format, const Interrupt& interrupt) {
  return encode(picture, Box{0, 0, picture.width, picture.height}, format, interrupt);
}

Picture rebuild(const Coefficients& coefficients, const Interrupt& interrupt) {
  return to_picture(rebuild_planes(coefficients, interrupt));
}

}  // namespace imagecalc
