#include "runner/train/storage.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "codec/value.h"
#include "runner/train/parallel.h"

namespace imagecalc {

namespace {

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

}  // namespace

StorageReply measure_storage(const std::vector<const Sample*>& pictures, int size, const MeasureStorage& request,
                             std::uint32_t threads, const std::function<void(std::uint32_t)>& progress,
                             const Interrupt& interrupt) {
  const std::vector<Format> formats = design_space(size);
  std::vector<std::vector<float>> sizes(pictures.size());
  std::mutex mutex;
  std::uint32_t done = 0;
  parallel_for(pictures.size(), threads, [&](std::size_t i) {
    sizes[i] = measure_picture(pictures[i]->picture(), formats, static_cast<int>(request.compression_level), interrupt);
    std::lock_guard lock(mutex);
    progress(++done);
  });

  StorageReply reply;
  for (std::size_t f = 0; f < formats.size(); ++f) {
    double sum = 0, squares = 0, count = static_cast<double>(pictures.size());
    for (const auto& one : sizes) {
      sum += one[f];
      squares += double{one[f]} * one[f];
    }
    double mean = sum / count;
    reply.mean_bytes.push_back(static_cast<float>(mean));
    reply.deviation.push_back(static_cast<float>(std::sqrt(std::max(0.0, squares / count - mean * mean))));
  }
  return reply;
}

}  // namespace imagecalc
