#include "runner/inference.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <utility>
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

std::size_t floats_of(TensorSize size) {
  return std::size_t{3} * static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width);
}

// How many of so many images make the next portion. One is always taken, however large.
std::size_t images_at_once(std::size_t images, std::size_t floats) {
  return std::clamp(kMaxPortionFloats / floats, std::size_t{1}, std::min(images, kMaxPortionImages));
}

TensorSize size_of(const Decoded& item, const ModelInput& input) {
  if (input.rgb) return tensor_size(input);
  const auto* value = std::get_if<StoredImage>(&item);
  const Geometry geometry = value ? value->header.geometry() : std::get<Coefficients>(item).geometry();
  return {geometry.tensor_height, geometry.tensor_width};
}

void place(const Decoded& item, const InferRequest& request, float* out) {
  if (auto* value = std::get_if<StoredImage>(&item)) {
    place_normalised(*value, request.normalisation, out);
  } else if (auto* coefficients = std::get_if<Coefficients>(&item)) {
    place_normalised(*coefficients, request.normalisation, out);
  } else {
    auto& picture = std::get<Picture>(item);
    place_rgb(picture, Box{0, 0, picture.width, picture.height}, request.input.rgb_size, request.normalisation, out);
  }
}

// What both ways to decode need.
struct Task {
  const InferRequest& request;
  const Interrupt& interrupt;
  Buffers& buffers;
  const TakePortion& take;

  // Calls work(item) with the decoded item. Its failure where there is one; throws what concerns all.
  template <typename Work>
  std::optional<Failure> attempt(std::size_t index, const Work& work) const {
    interrupt.check();
    Limits limits;
    limits.max_pixels = request.max_pixels;
    try {
      work(decode(request.items[index], request.input, limits, interrupt));
      return std::nullopt;
    } catch (const Error& error) {
      if (concerns_all(error.fault())) throw;
      return current_failure(static_cast<std::int32_t>(index));
    }
  }
};

// ---- tensors whose size the model's input fixes: each has its place before it is decoded

// So many floats take about 100 us to decode from values: less is not worth waking a thread. A picture file always is.
constexpr std::size_t kStepFloats = std::size_t{32} << 10;
constexpr std::size_t kMaxStep = 16;

std::size_t items_in_a_step(std::span<const InferItem> items, std::size_t floats) {
  const bool pictures =
      std::any_of(items.begin(), items.end(), [](const auto& item) { return item.kind == InferItem::Kind::picture; });
  return pictures ? 1 : std::clamp(kStepFloats / floats, std::size_t{1}, kMaxStep);
}

// Lists the items that have tensors, and moves these together, over the places of those that failed.
void close_holes(Portion& portion, std::size_t first, std::size_t count) {
  std::sort(portion.failures.begin(), portion.failures.end(), [](const auto& a, const auto& b) { return a.item < b.item; });
  const std::size_t floats = floats_of(portion.size);
  float* tensors = portion.tensors.data();
  auto failed = portion.failures.begin();
  for (std::size_t i = 0; i < count; ++i) {
    if (failed != portion.failures.end() && failed->item == static_cast<std::int32_t>(first + i)) {
      ++failed;
      continue;
    }
    const std::size_t place = portion.items.size();
    if (place < i) std::copy_n(tensors + i * floats, floats, tensors + place * floats);
    portion.items.push_back(static_cast<std::uint32_t>(first + i));
  }
}

Portion decode_portion(const Task& task, DecodePool& pool, TensorSize size, std::size_t first, std::size_t count) {
  const std::size_t floats = floats_of(size);
  Portion portion{.size = size, .tensors = task.buffers.take(count * floats)};
  std::mutex mutex;  // of the portion's failures and time
  auto decode_some = [&](std::size_t begin, std::size_t end) {
    const auto start = Clock::now();
    std::vector<Failure> failures;
    for (std::size_t i = begin; i < end; ++i) {
      auto failure = task.attempt(first + i, [&](const Decoded& item) {
        place(item, task.request, portion.tensors.data() + i * floats);
      });
      if (failure) failures.push_back(std::move(*failure));
    }
    const Microseconds taken = Clock::now() - start;
    std::lock_guard lock(mutex);
    portion.decode_us += taken.count();
    portion.failures.insert(portion.failures.end(), failures.begin(), failures.end());
  };
  pool.for_each_step(count, items_in_a_step(std::span(task.request.items).subspan(first, count), floats), decode_some);
  close_holes(portion, first, count);
  return portion;
}

void decode_one_size(const Task& task, DecodePool& pool) {
  const TensorSize size = tensor_size(task.request.input);
  const std::size_t items = task.request.items.size();
  for (std::size_t first = 0, count; first < items; first += count) {
    count = images_at_once(items - first, floats_of(size));
    task.take(decode_portion(task, pool, size, first, count), first + count == items);
  }
}

// ---- tensors of any size: known when the item is decoded

// Collects tensors of one size; another size, or a full portion, hands them on.
class Collector {
 public:
  explicit Collector(const Task& task) : task_(task) {}

  void add(std::uint32_t index) {
    auto failure = task_.attempt(index, [&](const Decoded& item) {
      place(item, task_.request, next(index, size_of(item, task_.request.input)));
    });
    if (failure) portion_.failures.push_back(std::move(*failure));
  }
  void hand_on(bool last) {
    portion_.decode_us = Microseconds(Clock::now() - start_).count();
    task_.take(std::exchange(portion_, {}), last);
    start_ = Clock::now();
  }

 private:
  // Where the next tensor goes.
  float* next(std::uint32_t index, TensorSize size) {
    const std::size_t floats = floats_of(size), images = portion_.items.size();
    if (images > 0 && (size != portion_.size || images == room_)) hand_on(false);
    if (portion_.items.empty()) {
      room_ = images_at_once(task_.request.items.size() - index, floats);
      portion_.tensors = task_.buffers.take(room_ * floats);
      portion_.size = size;
    }
    portion_.items.push_back(index);
    return portion_.tensors.data() + (portion_.items.size() - 1) * floats;
  }

  const Task& task_;
  Clock::time_point start_ = Clock::now();
  Portion portion_;
  std::size_t room_ = 0;  // images that the portion has room for
};

void decode_any_size(const Task& task) {
  Collector collector(task);
  for (std::uint32_t i = 0; i < task.request.items.size(); ++i) collector.add(i);
  collector.hand_on(true);
}

bool has_one_size(const ModelInput& input) { return input.rgb || input.format.size > 0; }

}  // namespace

void decode_items(const InferRequest& request, const Interrupt& interrupt, Buffers& buffers, DecodePool& pool,
                  const TakePortion& take) {
  const Task task{request, interrupt, buffers, take};
  if (request.items.empty()) {
    take({}, true);
  } else if (has_one_size(request.input)) {
    decode_one_size(task, pool);
  } else {
    decode_any_size(task);
  }
}

std::size_t tensor_bytes(const InferOutline& request) {
  constexpr std::size_t kPortions = 3;
  const std::size_t floats = has_one_size(request.input) ? floats_of(tensor_size(request.input)) : kMaxPortionFloats;
  return std::min(request.items * floats, kPortions * std::max(floats, kMaxPortionFloats)) * sizeof(float);
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
  const std::size_t floats = floats_of(portion.size);
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
