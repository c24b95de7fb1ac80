#include "runner/inference.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <variant>

#include "codec/encode.h"
#include "codec/tensor.h"
#include "codec/value.h"
#include "runner/channel.h"

namespace imagecalc {

namespace {

using Clock = std::chrono::steady_clock;
using Microseconds = std::chrono::duration<float, std::micro>;

// What goes through the model at once: as much as keeps the buffers, of which a connection has a few, within reason.
constexpr std::size_t kMaxPortionFloats = std::size_t{8} << 20;
constexpr std::size_t kMaxPortionImages = 256;

// An item on its way to a tensor: a picture file's coefficients, a stored value, or pixels for an RGB model.
using Decoded = std::variant<Coefficients, StoredImage, Picture>;

void check_format(const StoredImage& value, const Format& wanted) {
  if (value.header.format == wanted) return;
  throw Error(Fault::wrong_format,
              "the value is of format " + to_string(value.header.format) + ", but the model reads " + to_string(wanted),
              "Cast the value to icimage('" + to_string(wanted) + "').");
}

Decoded decode(const InferItem& item, const ModelInput& input, const Limits& limits, const Interrupt& interrupt) {
  if (item.kind == InferItem::Kind::picture) {
    if (input.rgb) return read_picture(item.bytes, limits, interrupt);
    return encode_file(item.bytes, input.format, limits, interrupt);
  }
  if (input.rgb) {
    throw Error(Fault::wrong_format, "the value is an icimage, but the model reads " + to_string(input),
                "Pass the JPEG file, or use a model for icimage values.");
  }
  StoredImage value = read_image(item.bytes, limits, interrupt);
  check_format(value, input.format);
  return value;
}

// Failures that the next item would meet as well.
bool concerns_all(Fault fault) {
  return fault == Fault::cancelled || fault == Fault::out_of_memory || fault == Fault::internal;
}

// Collects tensors of one size; another size, or a full portion, hands them on.
class Collector {
 public:
  Collector(const InferRequest& request, const std::function<std::vector<float>()>& buffer,
            const std::function<void(Portion&&)>& take)
      : request_(request), buffer_(buffer), take_(take) {
    portion_.tensors = buffer_();
  }

  void add(std::uint32_t index, const Decoded& item) {
    if (auto* value = std::get_if<StoredImage>(&item)) {
      Geometry geometry = value->header.geometry();
      place_normalised(*value, request_.normalisation, next(index, {geometry.tensor_height, geometry.tensor_width}));
    } else if (auto* coefficients = std::get_if<Coefficients>(&item)) {
      Geometry geometry = coefficients->geometry();
      place_normalised(*coefficients, request_.normalisation, next(index, {geometry.tensor_height, geometry.tensor_width}));
    } else {
      auto& picture = std::get<Picture>(item);
      int size = request_.input.rgb_size;
      Box whole{0, 0, picture.width, picture.height};
      place_rgb(picture, whole, size, request_.normalisation, next(index, {size, size}));
    }
  }
  void fail(Failure failure) { portion_.failures.push_back(std::move(failure)); }
  void flush() {
    portion_.decode_us = Microseconds(Clock::now() - start_).count();
    take_(std::move(portion_));
    portion_ = {};
    start_ = Clock::now();
  }

 private:
  // Where the next tensor goes.
  float* next(std::uint32_t index, TensorSize size) {
    const std::size_t floats = std::size_t{3} * size.height * size.width, images = portion_.items.size();
    if (images > 0 && (size != portion_.size || images == kMaxPortionImages || (images + 1) * floats > kMaxPortionFloats)) {
      flush();
      portion_.tensors = buffer_();
    }
    portion_.size = size;
    portion_.items.push_back(index);
    const std::size_t end = portion_.items.size() * floats;
    if (portion_.tensors.size() < end) portion_.tensors.resize(std::max(end, expected(index, floats)));
    return portion_.tensors.data() + end - floats;
  }
  // Room for the items to come, so that the buffer seldom moves.
  std::size_t expected(std::uint32_t index, std::size_t floats) const {
    const std::size_t images = std::min(request_.items.size() - index, kMaxPortionImages);
    return std::min(images * floats, kMaxPortionFloats);
  }

  const InferRequest& request_;
  const std::function<std::vector<float>()>& buffer_;
  const std::function<void(Portion&&)>& take_;
  Clock::time_point start_ = Clock::now();
  Portion portion_;
};

}  // namespace

void decode_items(const InferRequest& request, const Interrupt& interrupt, const std::function<std::vector<float>()>& buffer,
                  const std::function<void(Portion&&)>& take) {
  Limits limits;
  limits.max_pixels = request.max_pixels;
  Collector collector(request, buffer, take);
  for (std::uint32_t i = 0; i < request.items.size(); ++i) {
    interrupt.check();
    try {
      collector.add(i, decode(request.items[i], request.input, limits, interrupt));
    } catch (const Error& error) {
      if (concerns_all(error.fault())) throw;
      collector.fail(current_failure(static_cast<std::int32_t>(i)));
    }
  }
  collector.flush();
}

void Inference::run(const Portion& portion, Model& model, Wish wish, Batcher& batcher) {
  reply_.decode_us += portion.decode_us;
  reply_.failures.insert(reply_.failures.end(), portion.failures.begin(), portion.failures.end());
  if (portion.items.empty()) return;
  try {
    add_scores(portion.items, batcher.run({.model = model,
                                           .tensors = portion.tensors.data(),
                                           .images = portion.items.size(),
                                           .size = portion.size,
                                           .wish = wish,
                                           .session = session_}));
  } catch (const Error& error) {
    if (error.fault() != Fault::bad_model) throw;
    if (portion.items.size() == 1) {
      reply_.failures.push_back(current_failure(static_cast<std::int32_t>(portion.items[0])));
    } else {
      run_one_by_one(portion, model, wish, batcher);
    }
  }
}

// A model may refuse one of the images: the others are none the worse for it.
void Inference::run_one_by_one(const Portion& portion, Model& model, Wish wish, Batcher& batcher) {
  const std::size_t floats = std::size_t{3} * portion.size.height * portion.size.width;
  for (std::size_t i = 0; i < portion.items.size(); ++i) {
    const float* tensor = portion.tensors.data() + i * floats;
    try {
      const BatchRequest one{.model = model, .tensors = tensor, .images = 1, .size = portion.size, .wish = wish};
      add_scores({&portion.items[i], 1}, batcher.run_alone(one));
    } catch (const Error& error) {
      if (error.fault() != Fault::bad_model) throw;
      reply_.failures.push_back(current_failure(static_cast<std::int32_t>(portion.items[i])));
    }
  }
}

void Inference::add_scores(std::span<const std::uint32_t> items, const BatchAnswer& answer) {
  const Scores& scores = *answer.scores;
  reply_.model_us += answer.model_us;
  if (reply_.outputs == 0) {
    reply_.outputs = scores.outputs;
    reply_.scores.resize(items_ * scores.outputs);
  }
  if (reply_.outputs != scores.outputs) {
    throw Error(Fault::bad_model, "the model gives different numbers of scores for pictures of different sizes");
  }
  if (std::find(reply_.engines.begin(), reply_.engines.end(), scores.engine) == reply_.engines.end()) {
    reply_.engines.push_back(scores.engine);
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    std::copy_n(scores.values.begin() + static_cast<std::ptrdiff_t>((answer.first + i) * scores.outputs), scores.outputs,
                reply_.scores.begin() + static_cast<std::ptrdiff_t>(std::size_t{items[i]} * scores.outputs));
  }
}

InferReply Inference::finish() {
  std::stable_sort(reply_.failures.begin(), reply_.failures.end(),
                   [](const Failure& a, const Failure& b) { return a.item < b.item; });
  return std::move(reply_);
}

}  // namespace imagecalc
