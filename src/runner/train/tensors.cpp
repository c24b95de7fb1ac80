#include "runner/train/tensors.h"

#include <algorithm>
#include <cmath>

#include "codec/encode.h"
#include "runner/train/parallel.h"

namespace imagecalc {

namespace {

// Of a random crop: its share of the area, and width to height. torchvision's least share, 0.08, suits long schedules: on
// the weather pictures it is 3 points behind 0.35 after 12 and after 20 epochs. 0.6 is better after 12, but not after 20.
constexpr double kMinArea = 0.35;
constexpr double kMaxRatio = 4.0 / 3.0;
constexpr int kAttempts = 10;

void mirror(float* samples, std::size_t rows, std::size_t width) {
  for (std::size_t row = 0; row < rows; ++row) std::reverse(samples + row * width, samples + (row + 1) * width);
}

// The steps of encode(), with the mirroring among them.
Coefficients encode_view(const Picture& picture, const View& view, const Format& format, const Interrupt& interrupt) {
  Planes planes = scale(picture, view.box, format.size, format.size);
  if (view.mirrored) mirror(planes.samples.data(), std::size_t(planes.channels) * planes.height, planes.width);
  std::vector<float> floats = transform(planes, format.subsampling, format.block, format.kept, interrupt);
  Coefficients result;
  result.format = format;
  result.channels = planes.channels;
  result.coded_width = planes.width;
  result.coded_height = planes.height;
  result.source_width = static_cast<std::uint32_t>(picture.width);
  result.source_height = static_cast<std::uint32_t>(picture.height);
  result.values.resize(floats.size());
  quantize(floats.data(), floats.size(), format.quantizer, result.values.data());
  return result;
}

struct Moments {
  double sum = 0, squares = 0, count = 0;

  void add(double value) {
    sum += value;
    squares += value * value;
    ++count;
  }
  void add(const Moments& other) {
    sum += other.sum;
    squares += other.squares;
    count += other.count;
  }
};
using ChannelMoments = std::array<Moments, 3>;

ChannelMoments coefficient_moments(const Picture& picture, const Format& format, const Interrupt& interrupt) {
  Coefficients coefficients = encode(picture, format, interrupt);
  std::size_t plane = coefficients.values.size() / coefficients.channels;
  ChannelMoments moments;
  for (std::size_t c = 0; c < moments.size(); ++c) {
    for (std::size_t i = 0; i < plane; ++i) {
      bool present = static_cast<int>(c) < coefficients.channels;  // gray is read with chroma 0
      moments[c].add(present ? static_cast<double>(format.quantizer) * coefficients.values[c * plane + i] : 0.0);
    }
  }
  return moments;
}

ChannelMoments rgb_moments(const Picture& picture, int size) {
  std::size_t plane = std::size_t(size) * size;
  std::vector<float> samples(3 * plane);
  place_rgb(picture, {0, 0, picture.width, picture.height}, size, Normalisation{}, samples.data());
  ChannelMoments moments;
  for (std::size_t i = 0; i < samples.size(); ++i) moments[i / plane].add(samples[i]);
  return moments;
}

}  // namespace

View whole_view(const Picture& picture) { return {{0, 0, picture.width, picture.height}, false}; }

View random_view(const Picture& picture, Random& random) {
  View view = whole_view(picture);
  view.mirrored = random.below(2) == 1;
  for (int i = 0; i < kAttempts; ++i) {
    double area = random.uniform(kMinArea, 1) * picture.width * picture.height;
    double ratio = std::exp(random.uniform(-std::log(kMaxRatio), std::log(kMaxRatio)));
    int width = static_cast<int>(std::lround(std::sqrt(area * ratio)));
    int height = static_cast<int>(std::lround(std::sqrt(area / ratio)));
    if (width < 1 || height < 1 || width > picture.width || height > picture.height) continue;
    int left = static_cast<int>(random.below(picture.width - width + 1));
    int top = static_cast<int>(random.below(picture.height - height + 1));
    view.box = {left, top, width, height};
    break;
  }
  return view;
}

void make_tensor(const Picture& picture, const View& view, const ModelInput& input, const Normalisation& normalisation,
                 float* out, const Interrupt& interrupt) {
  if (input.rgb) {
    place_rgb(picture, view.box, input.rgb_size, normalisation, out);
    if (view.mirrored) mirror(out, std::size_t(3) * input.rgb_size, input.rgb_size);
  } else {
    place_normalised(encode_view(picture, view, input.format, interrupt), normalisation, out);
  }
}

void make_whole_tensor(const Sample& sample, const ModelInput& input, const Normalisation& normalisation, const Limits& limits,
                       float* out, const Interrupt& interrupt) {
  if (input.rgb || !sample.has_file()) {
    const Picture picture = sample.picture();
    make_tensor(picture, whole_view(picture), input, normalisation, out, interrupt);
  } else {
    place_normalised(encode_file(sample.file(), input.format, limits, interrupt), normalisation, out);
  }
}

Normalisation measure_normalisation(const std::vector<const Sample*>& pictures, const ModelInput& input,
                                    std::uint32_t threads, const Interrupt& interrupt) {
  std::vector<ChannelMoments> each(pictures.size());
  parallel_for(pictures.size(), threads, [&](std::size_t i) {
    const Picture picture = pictures[i]->picture();
    each[i] = input.rgb ? rgb_moments(picture, input.rgb_size) : coefficient_moments(picture, input.format, interrupt);
  });
  Normalisation result;
  for (std::size_t c = 0; c < 3; ++c) {
    Moments all;
    for (const ChannelMoments& one : each) all.add(one[c]);
    double mean = all.sum / all.count;
    double deviation = std::sqrt(std::max(0.0, all.squares / all.count - mean * mean));
    result.mean[c] = static_cast<float>(mean);
    result.deviation[c] = deviation > 1e-6 ? static_cast<float>(deviation) : 1.0f;
  }
  return result;
}

}  // namespace imagecalc
