#include "runner/train/data_set.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "runner/train/parallel.h"

namespace imagecalc {

namespace {

Picture rounded(const Planes& planes) {
  Picture picture{.width = planes.width, .height = planes.height, .channels = planes.channels, .samples = {}};
  picture.samples.resize(planes.samples.size());
  for (int c = 0; c < planes.channels; ++c) {
    const float* plane = planes.plane(c);
    std::size_t pixels = std::size_t(planes.width) * planes.height;
    for (std::size_t i = 0; i < pixels; ++i) {
      picture.samples[i * planes.channels + c] = static_cast<std::uint8_t>(std::lrint(std::clamp(plane[i], 0.0f, 255.0f)));
    }
  }
  return picture;
}

// A validation file is encoded as a cast would, once a training. One many times as large as its pixels is not worth keeping:
// after such a reduction what the cast stores differs by the pixels' rounding alone.
Blob file_to_keep(const AddImages::Image& image, const Picture& picture) {
  constexpr std::size_t kMaxRatio = 4;
  return image.validation && image.file.size() <= kMaxRatio * picture.samples.size() ? image.file : Blob{};
}

struct Prepared {
  Picture picture;
  std::string refusal;  // empty where the picture is there
};

Prepared prepare(const Blob& file, int size, const Limits& limits, const Interrupt& interrupt) try {
  Picture picture = read_picture(file, limits, interrupt);
  Box whole{0, 0, picture.width, picture.height};
  return {rounded(scale(picture, whole, size, size)), {}};
} catch (const Error& error) {
  if (error.fault() == Fault::cancelled) throw;
  return {{}, error.what()};
}

}  // namespace

AddReply DataSet::add(const AddImages& request, const Interrupt& interrupt) {
  for (const auto& image : request.images) {
    if (image.label >= classes_) throw Error(Fault::invalid_argument, "a label's number is past the number of classes");
  }
  Limits limits;
  limits.max_pixels = max_pixels_;
  std::vector<Prepared> prepared(request.images.size());
  parallel_for(prepared.size(), threads_,
               [&](std::size_t i) { prepared[i] = prepare(request.images[i].file, size_, limits, interrupt); });

  AddReply reply;
  for (std::size_t i = 0; i < prepared.size(); ++i) {
    const auto& image = request.images[i];
    if (prepared[i].refusal.empty()) {
      Picture& picture = prepared[i].picture;
      Kept file = spool_.keep(file_to_keep(image, picture)), pixels = spool_.keep(std::move(picture.samples));
      (image.validation ? validation_ : training_).emplace_back(picture, std::move(pixels), image.label, std::move(file));
    } else {
      reply.rejected.push_back({static_cast<std::uint32_t>(i), std::move(prepared[i].refusal)});
    }
  }
  reply.training = training_.size();
  reply.validation = validation_.size();
  return reply;
}

std::vector<const Sample*> spread(const std::vector<Sample>& samples, std::size_t count) {
  count = std::min(count, samples.size());
  std::vector<const Sample*> chosen;
  for (std::size_t i = 0; i < count; ++i) chosen.push_back(&samples[i * samples.size() / count]);
  return chosen;
}

}  // namespace imagecalc
