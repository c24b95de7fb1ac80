#include "codec/transform.h"

#include <algorithm>
#include <array>
#include <utility>

#include "codec/dct.h"
#include "codec/samples.h"

namespace imagecalc {
namespace {

constexpr int kGroupColumns = 256;  // so much of a row of blocks is transformed at a time: what fits into the cache
constexpr float kMiddle = 128;      // the sample value that becomes 0

// Interleaved samples, `stride` from a row to the next.
template <class Sample>
struct Raster {
  const Sample* begin;
  std::size_t stride;
  int channels;
};

// For so few floats, a call of memcpy takes longer than the copy.
inline void copy_few(const float* from, int count, float* to) {
  for (; count >= 4; count -= 4, from += 4, to += 4) std::copy_n(from, 4, to);
  for (; count > 0; --count) *to++ = *from++;
}

// A few blocks side by side.
struct Group {
  int down, across, count;
};

// One picture's way from samples to coefficients.
class Transformation {
 public:
  Transformation(const Geometry& geometry, int channels, Subsampling subsampling, const Dct& dct)
      : geometry_(geometry), channels_(channels), subsampling_(subsampling), dct_(dct),
        channel_size_(static_cast<std::size_t>(triangle_size(dct.kept) * geometry.blocks())),
        group_blocks_(std::min(geometry.blocks_across, std::max(1, kGroupColumns / dct.block))) {
    const std::size_t rows = round_up(std::size_t(group_blocks_) * channels * dct.kept);
    if (halves_.size() < rows * dct.block) halves_.resize(rows * dct.block);
    vertical_.resize(std::size_t(dct.kept) * kTileColumns * channels);
    coefficients_.resize(channel_size_ * channels);
  }

  template <class Sample>
  std::vector<float> run(const std::vector<Raster<Sample>>& rasters, const Interrupt& interrupt) {
    for (int down = 0; down < geometry_.blocks_down; ++down) {
      for (int across = 0; across < geometry_.blocks_across; across += group_blocks_) {
        interrupt.check();
        const Group group{down, across, std::min(group_blocks_, geometry_.blocks_across - across)};
        int channel = 0;
        for (const Raster<Sample>& raster : rasters) {
          transform_columns(raster, group, channel);
          channel += raster.channels;
        }
        transform_rows(group);
      }
    }
    convert();
    return std::move(coefficients_);
  }

 private:
  static std::size_t round_up(std::size_t rows) { return (rows + kTileColumns - 1) / kTileColumns * kTileColumns; }

  // The rows of samples of a group, subsampled; each begins at the group's first column. The last one is repeated.
  template <class Sample>
  std::vector<const Sample*> sample_rows(const Raster<Sample>& raster, const Group& group, int width,
                                         std::vector<Sample>& narrowed) const {
    const std::size_t down_step = halves_rows(subsampling_) ? 2 : 1, across_step = halves_columns(subsampling_) ? 2 : 1;
    const std::size_t left = std::size_t(group.across) * dct_.block * across_step * raster.channels;
    std::vector<const Sample*> rows(dct_.block);
    for (int n = 0; n < dct_.block; ++n) {
      const int y = std::min(group.down * dct_.block + n, geometry_.plane_height - 1);
      rows[n] = raster.begin + raster.stride * down_step * y + left;
    }
    if (across_step == 1) return rows;
    const std::size_t samples = std::size_t(width) * raster.channels;
    narrowed.resize(samples * rows.size());
    for (std::size_t n = 0; n < rows.size(); ++n) {
      Sample* out = narrowed.data() + n * samples;
      drop_columns(rows[n], width, raster.channels, out);
      rows[n] = out;
    }
    return rows;
  }

  // Every other pixel.
  template <class Sample>
  static void drop_columns(const Sample* row, int width, int channels, Sample* out) {
    if (channels == 1) {
      for (int x = 0; x < width; ++x) out[x] = row[2 * x];
    } else {
      for (int x = 0; x < width; ++x, row += 6, out += 3) std::copy_n(row, 3, out);
    }
  }

  // Vertically: from samples to halves_ [frequency i][channel][place in the group's blocks], columns padded by the last.
  template <class Sample>
  void transform_columns(const Raster<Sample>& raster, const Group& group, int first_channel) {
    const int padded = group.count * dct_.block;
    const int width = std::min(padded, geometry_.plane_width - group.across * dct_.block);
    std::vector<Sample> narrowed;
    std::vector<const Sample*> rows = sample_rows(raster, group, width, narrowed);
    for (int x = 0; x < width; x += kTileColumns) {
      const int pixels = std::min(kTileColumns, width - x), columns = pixels * raster.channels;
      dct_down(dct_, rows.data(), kMiddle, columns, dct_.kept, vertical_.data(), columns);
      for (int i = 0; i < dct_.kept; ++i) {
        float* place = halves_.data() + std::size_t((i * channels_ + first_channel) * padded + x);
        separate(vertical_.data() + i * columns, pixels, raster.channels, place, padded);
      }
      for (const Sample*& row : rows) row += columns;
    }
    for (int i = 0; i < dct_.kept; ++i) {
      for (int c = first_channel; c < first_channel + raster.channels; ++c) {
        float* row = halves_.data() + std::size_t(i * channels_ + c) * padded;
        std::fill(row + width, row + padded, row[width - 1]);
      }
    }
  }

  // Channels side by side become rows, `padded` apart.
  static void separate(const float* row, int pixels, int channels, float* place, int padded) {
    if (channels == 1) {
      std::copy_n(row, pixels, place);
    } else {
      float* const planes[3] = {place, place + padded, place + 2 * padded};
      deinterleave(row, pixels, planes);
    }
  }

  // Horizontally: each row of halves_ that is one block wide becomes one column of a tile.
  void transform_rows(const Group& group) {
    const int lines = channels_ * group.count;  // for each frequency i
    alignas(64) float tile[kMaxBlock * kTileColumns];
    for (int row = 0; row < dct_.kept * lines; row += kTileColumns) {
      dct_across(dct_, halves_.data() + std::size_t(row) * dct_.block, dct_.kept - row / lines, tile);
      scatter(group, row, tile);
    }
  }

  // Takes a tile's frequencies j to their places; its columns are the rows from `row` on. By diagonals, as they are stored.
  void scatter(const Group& group, int row, const float* tile) {
    const auto [runs, count] = runs_of(group, row);
    const int first = row / (channels_ * group.count);
    for (int diagonal = first; diagonal < dct_.kept; ++diagonal) {
      const std::size_t offset = static_cast<std::size_t>(triangle_size(diagonal) * geometry_.blocks());
      for (int n = 0; n < count && runs[n].i <= diagonal; ++n) {
        const Run& run = runs[n];
        copy_few(tile + (diagonal - run.i) * kTileColumns + run.column, run.length, run.out + offset);
      }
    }
  }

  // Columns of a tile that belong to neighbouring blocks and one vertical frequency; out: the first one's place, less the
  // frequencies on the diagonals before.
  struct Run {
    int column, length, i;
    float* out;
  };

  std::pair<std::array<Run, kTileColumns>, int> runs_of(const Group& group, int row) {
    const int lines = channels_ * group.count, end = std::min(row + kTileColumns, dct_.kept * lines);
    const std::size_t blocks = static_cast<std::size_t>(geometry_.blocks());
    const std::size_t first = std::size_t(group.down) * geometry_.blocks_across + group.across;
    std::array<Run, kTileColumns> runs;
    int count = 0;
    for (int at = row; at < end; at += runs[count++].length) {
      const int i = at / lines, c = at % lines / group.count, across = at % group.count;
      float* out = coefficients_.data() + c * channel_size_ + i * blocks + first + across;
      runs[count] = {at - row, std::min(end - at, group.count - across), i, out};
    }
    return {runs, count};
  }

  // Colours, and the factor that makes the DCT orthonormal.
  void convert() {
    const float factor = 2.0f / static_cast<float>(dct_.block);
    float* first = coefficients_.data();
    if (channels_ == 1) {
      multiply_by(factor, first, channel_size_);
    } else {
      rgb_to_ycbcr(first, first + channel_size_, first + 2 * channel_size_, channel_size_, factor);
    }
  }

  const Geometry geometry_;
  const int channels_;
  const Subsampling subsampling_;
  const Dct dct_;
  const std::size_t channel_size_;
  const int group_blocks_;
  std::vector<float> vertical_, coefficients_;
  // Kept for the next picture, since fresh pages cost more than what is done with them: at most 0.8 MB a thread.
  static thread_local std::vector<float> halves_;
};

thread_local std::vector<float> Transformation::halves_;

template <class Sample>
std::vector<float> transform_rasters(const std::vector<Raster<Sample>>& rasters, int channels, int width, int height,
                                     Subsampling subsampling, const Dct& dct, const Interrupt& interrupt) {
  const Format format{subsampling, dct.block, dct.kept, 1, 0};
  check(format);
  return Transformation(geometry(format, width, height), channels, subsampling, dct).run(rasters, interrupt);
}

}  // namespace

std::vector<float> transform(const Planes& planes, Subsampling subsampling, int block, int kept,
                             const Interrupt& interrupt) {
  std::vector<Raster<float>> rasters;
  for (int c = 0; c < planes.channels; ++c) rasters.push_back({planes.plane(c), std::size_t(planes.width), 1});
  return transform_rasters(rasters, planes.channels, planes.width, planes.height, subsampling, {block, kept}, interrupt);
}

std::vector<float> transform(const Picture& picture, const Box& box, Subsampling subsampling, int block, int kept,
                             const Interrupt& interrupt, DctMethod method) {
  check_box(picture, box);
  const std::size_t stride = std::size_t(picture.width) * picture.channels;
  const std::uint8_t* begin = picture.samples.data() + stride * box.top + std::size_t(box.left) * picture.channels;
  const std::vector<Raster<std::uint8_t>> rasters{{begin, stride, picture.channels}};
  return transform_rasters(rasters, picture.channels, box.width, box.height, subsampling, {block, kept, method}, interrupt);
}

Coefficients describe(const Format& format, int channels, int width, int height) {
  constexpr int kMaxEdge = 65535;
  Coefficients result;
  result.format = format;
  result.channels = channels;
  result.coded_width = format.size > 0 ? format.size : width;
  result.coded_height = format.size > 0 ? format.size : height;
  result.source_width = static_cast<std::uint32_t>(width);
  result.source_height = static_cast<std::uint32_t>(height);
  if (result.coded_width > kMaxEdge || result.coded_height > kMaxEdge) {
    throw Error(Fault::limit_exceeded, "a picture's edge may be at most 65535 pixels", "Use a format with a size.");
  }
  return result;
}

Coefficients encode(const Picture& picture, const Box& box, const Format& format, const Interrupt& interrupt) {
  check(format);
  Coefficients result = describe(format, picture.channels, box.width, box.height);
  const bool as_it_is = result.coded_width == box.width && result.coded_height == box.height;
  const std::vector<float> coefficients =
      as_it_is ? transform(picture, box, format.subsampling, format.block, format.kept, interrupt)
               : transform(scale(picture, box, result.coded_width, result.coded_height, interrupt), format.subsampling,
                           format.block, format.kept, interrupt);
  result.values.resize(coefficients.size());
  quantize(coefficients.data(), coefficients.size(), format.quantizer, result.values.data());
  return result;
}

Coefficients encode(const Picture& picture, const Format& format, const Interrupt& interrupt) {
  return encode(picture, Box{0, 0, picture.width, picture.height}, format, interrupt);
}

}  // namespace imagecalc
