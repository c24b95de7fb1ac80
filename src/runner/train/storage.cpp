#include "runner/train/storage.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <mutex>

#include "codec/encode.h"
#include "codec/value.h"
#include "runner/train/parallel.h"

namespace imagecalc {

namespace {

// Counts pictures, from several threads.
class Steps {
 public:
  Steps(std::size_t all, const std::function<void(const Progress&)>& progress)
      : all_(static_cast<std::uint32_t>(all)), progress_(progress) {}

  void add() {
    std::lock_guard lock(mutex_);
    progress_({++done_, all_, 0});
  }

 private:
  const std::uint32_t all_;
  const std::function<void(const Progress&)>& progress_;
  std::mutex mutex_;
  std::uint32_t done_ = 0;
};

// One transform of a picture serves all formats of its subsampling and block: a smaller triangle's values are, channel by
// channel, the beginning of the whole block's.
class Quantized {
 public:
  Quantized(const Planes& planes, const Format& format, const Interrupt& interrupt) : format_(format) {
    format_.kept = format.block;
    std::vector<float> coefficients = transform(planes, format.subsampling, format.block, format.block, interrupt);
    for (std::size_t i = 0; i < kSearchedQuantizers.size(); ++i) {
      values_[i].resize(coefficients.size());
      quantize(coefficients.data(), coefficients.size(), kSearchedQuantizers[i], values_[i].data());
    }
    channels_ = planes.channels;
    blocks_ = geometry(format_, planes.width, planes.height).blocks();
  }

  bool serves(const Format& format) const {
    return format.subsampling == format_.subsampling && format.block == format_.block;
  }

  // The values of one format.
  void take(const Format& format, std::vector<std::int32_t>& values) const {
    auto place = std::find(kSearchedQuantizers.begin(), kSearchedQuantizers.end(), format.quantizer);
    const std::int32_t* all = values_[place - kSearchedQuantizers.begin()].data();
    std::int64_t whole = triangle_size(format_.kept) * blocks_, wanted = triangle_size(format.kept) * blocks_;
    values.clear();
    for (int c = 0; c < channels_; ++c) values.insert(values.end(), all + c * whole, all + c * whole + wanted);
  }

 private:
  Format format_;
  int channels_ = 0;
  std::int64_t blocks_ = 0;
  std::array<std::vector<std::int32_t>, kSearchedQuantizers.size()> values_;
};

std::vector<float> measure_picture(const Picture& picture, const std::vector<Format>& formats, int compression_level,
                                   const Interrupt& interrupt) {
  Planes planes = scale(picture, {0, 0, picture.width, picture.height}, picture.width, picture.height);
  Coefficients value;
  value.channels = picture.channels;
  value.coded_width = picture.width;
  value.coded_height = picture.height;
  value.source_width = static_cast<std::uint32_t>(picture.width);
  value.source_height = static_cast<std::uint32_t>(picture.height);
  std::vector<float> sizes;
  sizes.reserve(formats.size());
  std::optional<Quantized> quantized;
  for (const Format& format : formats) {
    interrupt.check();
    if (!quantized || !quantized->serves(format)) quantized.emplace(planes, format, interrupt);
    value.format = format;
    quantized->take(format, value.values);
    sizes.push_back(static_cast<float>(write_value(value, compression_level).size()));
  }
  return sizes;
}

constexpr std::size_t kManyPictures = 400;
constexpr std::size_t kReferences = 5;  // formats of each quantizer that are measured on that many

// The mean bytes of a value of each format over the pictures, at a fast level: their ratio is about that at any other.
std::vector<double> mean_bytes(const std::vector<const Sample*>& pictures, const std::vector<Format>& formats,
                               std::uint32_t threads, Steps& steps, const Interrupt& interrupt) {
  std::vector<std::vector<double>> sizes(pictures.size());
  parallel_for(pictures.size(), threads, [&](std::size_t i) {
    const Picture picture = pictures[i]->picture();
    for (const Format& format : formats) {
      const auto value = write_value(encode(picture, format, interrupt), kDefaultCompressionLevel, interrupt);
      sizes[i].push_back(static_cast<double>(value.size()) / static_cast<double>(pictures.size()));
    }
    steps.add();
  });
  std::vector<double> means(formats.size());
  for (const auto& one : sizes) std::transform(one.begin(), one.end(), means.begin(), means.begin(), std::plus<>());
  return means;
}

// Of bytes, by which the sample's mean has to be multiplied there.
struct Correction {
  double bytes = 0, factor = 1;
};

// Of each quantizer, by rising bytes: how much a coarse one keeps of a picture says little about a fine one.
using Corrections = std::map<int, std::vector<Correction>>;

// Of each quantizer some formats from the fewest coefficients to the most: the same ones at every level of compression.
std::vector<std::size_t> pick_references(const std::vector<Format>& formats) {
  const auto coefficients = [&](std::size_t f) {
    return triangle_size(formats[f].kept) * geometry(formats[f], formats[f].size, formats[f].size).blocks();
  };
  std::map<int, std::vector<std::size_t>> by_quantizer;
  for (std::size_t f = 0; f < formats.size(); ++f) by_quantizer[formats[f].quantizer].push_back(f);
  std::vector<std::size_t> picked;
  for (auto& [quantizer, order] : by_quantizer) {
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return coefficients(a) < coefficients(b); });
    for (std::size_t i = 0; i < kReferences; ++i) picked.push_back(order[i * (order.size() - 1) / (kReferences - 1)]);
  }
  return picked;
}

// bytes: the sample's means, of each format.
Corrections measure_corrections(const std::vector<const Sample*>& sample, const std::vector<const Sample*>& many,
                                const std::vector<Format>& formats, const std::vector<float>& bytes, std::uint32_t threads,
                                Steps& steps, const Interrupt& interrupt) {
  const std::vector<std::size_t> picked = pick_references(formats);
  std::vector<Format> references;
  for (std::size_t f : picked) references.push_back(formats[f]);
  const std::vector<double> here = mean_bytes(sample, references, threads, steps, interrupt);
  const std::vector<double> there = mean_bytes(many, references, threads, steps, interrupt);
  Corrections corrections;
  for (std::size_t i = 0; i < picked.size(); ++i) {
    corrections[references[i].quantizer].push_back({bytes[picked[i]], there[i] / here[i]});
  }
  for (auto& [quantizer, own] : corrections) {
    std::stable_sort(own.begin(), own.end(), [](const Correction& a, const Correction& b) { return a.bytes < b.bytes; });
  }
  return corrections;
}

double correction_at(const std::vector<Correction>& corrections, double bytes) {
  const auto above = std::upper_bound(corrections.begin(), corrections.end(), bytes,
                                      [](double value, const Correction& correction) { return value < correction.bytes; });
  if (above == corrections.begin()) return corrections.front().factor;
  if (above == corrections.end()) return corrections.back().factor;
  const Correction& below = above[-1];
  const double part = std::log(bytes / below.bytes) / std::log(above->bytes / below.bytes);
  return below.factor + part * (above->factor - below.factor);
}

}  // namespace

StorageReply measure_storage(const std::vector<Sample>& pictures, int size, const MeasureStorage& request, std::uint32_t threads,
                             const std::function<void(const Progress&)>& progress, const Interrupt& interrupt) {
  const std::vector<Format> formats = design_space(size);
  const std::vector<const Sample*> sample = spread(pictures, request.sample);
  const std::vector<const Sample*> many = spread(pictures, kManyPictures);
  const bool correct = many.size() > sample.size();
  Steps steps(sample.size() + (correct ? sample.size() + many.size() : 0), progress);
  std::vector<std::vector<float>> sizes(sample.size());
  parallel_for(sample.size(), threads, [&](std::size_t i) {
    sizes[i] = measure_picture(sample[i]->picture(), formats, static_cast<int>(request.compression_level), interrupt);
    steps.add();
  });

  StorageReply reply;
  for (std::size_t f = 0; f < formats.size(); ++f) {
    double sum = 0, squares = 0, count = static_cast<double>(sample.size());
    for (const auto& one : sizes) {
      sum += one[f];
      squares += double{one[f]} * one[f];
    }
    double mean = sum / count;
    reply.mean_bytes.push_back(static_cast<float>(mean));
    reply.deviation.push_back(static_cast<float>(std::sqrt(std::max(0.0, squares / count - mean * mean))));
  }
  if (!correct) return reply;
  const Corrections corrections = measure_corrections(sample, many, formats, reply.mean_bytes, threads, steps, interrupt);
  for (std::size_t f = 0; f < formats.size(); ++f) {
    const auto factor = static_cast<float>(correction_at(corrections.at(formats[f].quantizer), reply.mean_bytes[f]));
    reply.mean_bytes[f] *= factor;
    reply.deviation[f] *= factor;
  }
  return reply;
}

}  // namespace imagecalc
