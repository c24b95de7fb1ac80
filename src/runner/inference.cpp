#include "runner/inference.h"

#include <chrono>
#include <variant>

#include "codec/encode.h"
#include "codec/tensor.h"
#include "codec/value.h"
#include "runner/channel.h"

namespace imagecalc {

namespace {

using Clock = std::chrono::steady_clock;
using Microseconds = std::chrono::duration<float, std::micro>;

// What goes through the model at once: as much as keeps the model's own buffers within reason.
constexpr std::size_t kMaxBatchFloats = std::size_t{16} << 20;
constexpr std::size_t kMaxBatchImages = 256;

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
  StoredImage value = read_image(item.bytes, limits);
  check_format(value, input.format);
  return value;
}

// Collects tensors of one size and runs them together; another size, or a full batch, sends them off.
class Batch {
 public:
  Batch(const InferRequest& request, Model& model, Cores& cores, const Interrupt& interrupt)
      : request_(request), model_(model), cores_(cores), interrupt_(interrupt) {}

  void add(const Decoded& item) {
    if (auto* value = std::get_if<StoredImage>(&item)) {
      Geometry geometry = value->header.geometry();
      place_normalised(*value, request_.normalisation, next({geometry.tensor_height, geometry.tensor_width}));
    } else if (auto* coefficients = std::get_if<Coefficients>(&item)) {
      Geometry geometry = coefficients->geometry();
      place_normalised(*coefficients, request_.normalisation, next({geometry.tensor_height, geometry.tensor_width}));
    } else {
      auto& picture = std::get<Picture>(item);
      int size = request_.input.rgb_size;
      Box whole{0, 0, picture.width, picture.height};
      place_rgb(picture, whole, size, request_.normalisation, next({size, size}));
    }
  }

  InferReply finish() {
    flush();
    reply_.decode_us = Microseconds(Clock::now() - start_ - flushing_).count();
    return std::move(reply_);
  }

 private:
  // Where the next tensor goes.
  float* next(TensorSize size) {
    std::size_t floats = std::size_t{3} * size.height * size.width;
    if (images_ > 0 && (size != size_ || images_ == kMaxBatchImages || (images_ + 1) * floats > kMaxBatchFloats)) flush();
    size_ = size;
    if (tensors_.size() < (images_ + 1) * floats) tensors_.resize((images_ + 1) * floats);
    return tensors_.data() + images_++ * floats;
  }

  void flush() {
    if (images_ == 0) return;
    interrupt_.check();
    auto start = Clock::now();
    run();
    images_ = 0;
    flushing_ += Clock::now() - start;
  }

  void run() {
    Cores::Turn turn(cores_);
    auto start = Clock::now();
    Scores scores = model_.run(tensors_.data(), images_, size_, turn.threads());
    reply_.model_us += Microseconds(Clock::now() - start).count();
    if (reply_.outputs != 0 && reply_.outputs != scores.outputs) {
      throw Error(Fault::bad_model, "the model gives different numbers of scores for pictures of different sizes");
    }
    reply_.outputs = scores.outputs;
    reply_.scores.insert(reply_.scores.end(), scores.values.begin(), scores.values.end());
  }

  const InferRequest& request_;
  Model& model_;
  Cores& cores_;
  const Interrupt& interrupt_;
  const Clock::time_point start_ = Clock::now();
  Clock::duration flushing_{};  // running the model, and waiting for a turn
  TensorSize size_{0, 0};
  std::size_t images_ = 0;
  std::vector<float> tensors_;
  InferReply reply_;
};

}  // namespace

Message infer(const InferRequest& request, ModelCache& models, Cores& cores, const Interrupt& interrupt) {
  std::shared_ptr<Model> model = models.find(request.model);
  if (!model) return NeedModel{};
  Limits limits;
  limits.max_pixels = request.max_pixels;
  Batch batch(request, *model, cores, interrupt);
  for (std::size_t i = 0; i < request.items.size(); ++i) {
    Decoded decoded;
    try {
      decoded = decode(request.items[i], request.input, limits, interrupt);
    } catch (...) {
      return current_failure(static_cast<std::int32_t>(i));
    }
    batch.add(decoded);
  }
  return batch.finish();
}

}  // namespace imagecalc
