#include "codec/recombine.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <compare>
#include <list>
#include <map>
#include <memory>

#include "codec/cosines.h"
#include "codec/dequantize.h"
#include "codec/filter.h"
#include "codec/matrix.h"

namespace imagecalc {
namespace {

// All that a dimension's matrix depends on.
struct Axis {
  int source;  // the picture's samples
  int repeat;  // of them to a sample of the component
  int coded;   // samples after scaling
  bool halved;
  int block, kept;

  auto operator<=>(const Axis&) const = default;
};

// The rows of the matrix that make one block's coefficients: weights [kept][count] for the component's coefficients
// first, first + 1 ... in place.
struct Band {
  int first, count;
  const float* weights;
};

struct Operator {
  std::vector<Band> bands;  // one a block
  std::map<std::vector<float>, std::vector<float>> weights;

  std::size_t size() const {
    std::size_t floats = 0;
    for (const auto& [samples, values] : weights) floats += samples.size() + values.size();
    return floats * sizeof(float);
  }
};

// An orthonormal DCT's cosine: of pi (2 place + 1) frequency / 2 block.
double cosine(int block, int frequency, int place) {
  const std::size_t step = circle().size() / (4 * std::size_t(block));
  const std::size_t angle = std::size_t(2 * place + 1) * frequency * step % circle().size();
  return std::sqrt((frequency == 0 ? 1.0 : 2.0) / block) * circle()[angle];
}

// How one of our blocks' samples come from the picture's.
struct Footprint {
  int first, count;  // the component's samples below it, whole JPEG blocks
  // For each of ours: the picture's first sample, counted from there, the count of samples, and their weights.
  std::vector<float> samples;
};

Footprint footprint(const Axis& axis, const Filter& filter, int block_index) {
  const int step = axis.halved ? 2 : 1, length = (axis.coded + step - 1) / step;
  const auto taps = [&](int place) -> const Taps& {
    return filter.taps[std::size_t(std::min(block_index * axis.block + place, length - 1)) * step];
  };
  const Taps& last = taps(axis.block - 1);
  const int span = kJpegBlock * axis.repeat;  // of a JPEG block in the picture
  const int first = taps(0).first / span, end = (last.first + last.count - 1) / span + 1;
  Footprint result{first * kJpegBlock, (end - first) * kJpegBlock, {}};
  for (int place = 0; place < axis.block; ++place) {
    const Taps& tap = taps(place);
    result.samples.push_back(static_cast<float>(tap.first - first * span));
    result.samples.push_back(static_cast<float>(tap.count));
    const auto weights = filter.weights.begin() + static_cast<std::ptrdiff_t>(tap.weight);
    result.samples.insert(result.samples.end(), weights, weights + tap.count);
  }
  return result;
}

// What each of the component's samples adds to one of our frequencies.
void project(const Axis& axis, const Footprint& from, int frequency, std::vector<double>& samples) {
  std::fill(samples.begin(), samples.end(), 0.0);
  auto next = from.samples.begin();
  for (int place = 0; place < axis.block; ++place) {
    const double factor = cosine(axis.block, frequency, place);
    const int first = static_cast<int>(*next++), count = static_cast<int>(*next++);
    for (int n = first; n < first + count; ++n) samples[n / axis.repeat] += factor * *next++;
  }
}

std::array<double, kJpegArea> make_jpeg_cosines() {
  std::array<double, kJpegArea> result;
  for (int n = 0; n < kJpegArea; ++n) result[n] = cosine(kJpegBlock, n / kJpegBlock, n % kJpegBlock);
  return result;
}

std::vector<float> make_weights(const Axis& axis, const Footprint& from) {
  constexpr double kNothing = 1e-7;
  static const auto cosines = make_jpeg_cosines();
  std::vector<float> weights;
  std::vector<double> samples(from.count);
  for (int frequency = 0; frequency < axis.kept; ++frequency) {
    project(axis, from, frequency, samples);
    for (int n = 0; n < from.count; ++n) {
      const double* block = samples.data() + n / kJpegBlock * kJpegBlock;
      const double* cosine_row = cosines.data() + n % kJpegBlock * kJpegBlock;
      double sum = 0;
      for (int place = 0; place < kJpegBlock; ++place) sum += block[place] * cosine_row[place];
      weights.push_back(std::abs(sum) < kNothing ? 0.0f : static_cast<float>(sum));
    }
  }
  return weights;
}

// Blocks whose samples lie alike above their JPEG blocks share their weights: all inner ones, in the usual geometries.
Operator make_operator(const Axis& axis) {
  const Filter filter = make_filter(axis.source, axis.coded);
  const int length = axis.halved ? (axis.coded + 1) / 2 : axis.coded;
  Operator result;
  for (int n = 0; n * axis.block < length; ++n) {
    Footprint from = footprint(axis, filter, n);
    auto place = result.weights.find(from.samples);
    if (place == result.weights.end()) {
      std::vector<float> weights = make_weights(axis, from);
      place = result.weights.emplace(std::move(from.samples), std::move(weights)).first;
    }
    result.bands.push_back({from.first, from.count, place->second.data()});
  }
  return result;
}

// A thread's last few, since most pictures are as large as those before.
std::shared_ptr<const Operator> find_operator(const Axis& axis) {
  constexpr std::size_t kMaxCount = 16, kMaxBytes = 256 << 10;
  thread_local std::list<std::pair<Axis, std::shared_ptr<const Operator>>> cache;
  const auto place = std::find_if(cache.begin(), cache.end(), [&](const auto& entry) { return entry.first == axis; });
  if (place != cache.end()) {
    cache.splice(cache.begin(), cache, place);
    return cache.front().second;
  }
  auto made = std::make_shared<const Operator>(make_operator(axis));
  if (made->size() <= kMaxBytes) {
    cache.emplace_front(axis, made);
    if (cache.size() > kMaxCount) cache.pop_back();
  }
  return made;
}

// out [columns][rows] from in [rows][columns].
void transpose(const float* in, std::size_t rows, std::size_t columns, float* out) {
  constexpr std::size_t kTile = 8;
  std::size_t y = 0;
  for (; y + kTile <= rows; y += kTile, in += kTile * columns) {
    for (std::size_t x = 0; x < columns; ++x) {
      for (std::size_t n = 0; n < kTile; ++n) out[x * rows + y + n] = in[n * columns + x];
    }
  }
  for (; y < rows; ++y, in += columns) {
    for (std::size_t x = 0; x < columns; ++x) out[x * rows + y] = in[x];
  }
}

// Memory that a thread keeps for its next picture, within reason: mapping its pages takes longer than what is done in them.
struct Scratch {
  std::vector<float> strip, rows, columns, sums;

  void trim() {
    constexpr std::size_t kMaxKept = std::size_t{1} << 20;
    if (strip.size() + rows.size() + columns.size() + sums.size() > kMaxKept) *this = {};
  }
};

float* reserve(std::vector<float>& values, std::size_t count) {
  if (values.size() < count) values.resize(count);
  return values.data();
}

// The vertical half: scratch.columns becomes [8 x blocks across][kept][bands].
void recombine_rows(const JpegComponent& component, const Operator& down, int kept, Scratch& scratch,
                    const Interrupt& interrupt) {
  const std::size_t width = std::size_t(component.blocks_across) * kJpegBlock, count = down.bands.size();
  std::array<float, kJpegArea> steps;
  std::copy(component.steps.begin(), component.steps.end(), steps.begin());
  float* rows = reserve(scratch.rows, count * kept * width);
  for (std::size_t n = 0; n < count; ++n) {
    interrupt.check();
    const Band& band = down.bands[n];
    float* strip = reserve(scratch.strip, band.count * width);
    for (int row = 0; row < band.count; row += kJpegBlock) {
      const std::size_t y = (band.first + row) / kJpegBlock;
      const std::uint8_t* in_sixteenths =
          component.in_sixteenths.empty() ? nullptr : component.in_sixteenths.data() + component.blocks_across * y;
      dequantize(component.blocks + component.row_stride * y, in_sixteenths, component.blocks_across, steps.data(),
                 strip + row * width, width);
    }
    multiply(band.weights, band.count, strip, width, kept, band.count, static_cast<int>(width), rows + n * width,
             count * width);
  }
  transpose(rows, count * kept, width, reserve(scratch.columns, count * kept * width));
}

// Vertically first, which leaves few rows for the other half. out: [frequency][block].
void recombine_component(const JpegComponent& component, const Operator& down, const Operator& across, int kept,
                         Scratch& scratch, float* out, const Interrupt& interrupt) {
  recombine_rows(component, down, kept, scratch, interrupt);
  const std::size_t height = down.bands.size(), width = across.bands.size(), stride = height * kept;
  float* sums = reserve(scratch.sums, stride * kept);
  for (std::size_t x = 0; x < width; ++x) {
    interrupt.check();
    const Band& band = across.bands[x];
    multiply(band.weights, band.count, scratch.columns.data() + band.first * stride, stride, kept, band.count,
             static_cast<int>(stride), sums, stride);
    for (int j = 0; j < kept; ++j) {
      for (int i = 0; i + j < kept; ++i) {
        const float* from = sums + stride * j + height * i;
        float* to = out + triangle_index(i, j) * height * width + x;
        for (std::size_t y = 0; y < height; ++y) to[y * width] = from[y];
      }
    }
  }
}

// Also where a loop is cancelled.
struct TrimAtEnd {
  Scratch& scratch;
  ~TrimAtEnd() { scratch.trim(); }
};

}  // namespace

std::int64_t recombine_memory(int width, int height, const Format& format) {
  const int coded_width = format.size > 0 ? format.size : width, coded_height = format.size > 0 ? format.size : height;
  const std::int64_t bands = geometry(format, coded_width, coded_height).blocks_down;
  const std::int64_t columns = std::int64_t{width} + kJpegBlock - 1;
  // Of the picture's rows, those below a band: its own, a filter's beside them, and those to whole blocks.
  const std::int64_t rows_below = std::int64_t{format.block} * (halves_rows(format.subsampling) ? 2 : 1) + 2;
  const std::int64_t strip = std::min(rows_below * (height / coded_height + 1), std::int64_t{height}) + 2 * kJpegBlock;
  const std::int64_t floats = (2 * bands * format.kept + strip) * columns + bands * format.kept * format.kept;
  return floats * static_cast<std::int64_t>(sizeof(float));
}

std::vector<float> recombine(std::span<const JpegComponent> components, int width, int height, const Format& format,
                             const Interrupt& interrupt) {
  const int coded_width = format.size > 0 ? format.size : width, coded_height = format.size > 0 ? format.size : height;
  const std::size_t plane =
      static_cast<std::size_t>(triangle_size(format.kept) * geometry(format, coded_width, coded_height).blocks());
  std::vector<float> coefficients(plane * components.size());
  float* out = coefficients.data();
  thread_local Scratch scratch;
  const TrimAtEnd trim{scratch};
  for (const JpegComponent& component : components) {
    const auto down = find_operator(
        {height, component.repeat_down, coded_height, halves_rows(format.subsampling), format.block, format.kept});
    const auto across = find_operator(
        {width, component.repeat_across, coded_width, halves_columns(format.subsampling), format.block, format.kept});
    recombine_component(component, *down, *across, format.kept, scratch, out, interrupt);
    out += plane;
  }
  return coefficients;
}

}  // namespace imagecalc
