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

void check_format(const ValueHeader& value, const Format& wanted) {
  if (value.format == wanted) return;
  throw Error(Fault::wrong_format,
              "the value is of format " + to_string(value.format) + ", but the model reads " + to_string(wanted),
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
  check_format(value.header, input.format);
  return value;
}

gpu::Sent read_for_device(const InferItem& item, const InferRequest& request, const Limits& limits, const Interrupt& interrupt) {
  if (request.device_decode) {
    const StoredPayload payload = read_payload(item.bytes, limits);
    check_format(payload.header, request.input.format);
    if (gpu::device_decodes(payload)) return payload;
  }
  StoredImage value = read_image(item.bytes, limits, interrupt);
  check_format(value.header, request.input.format);
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

// What all ways to decode need.
struct Task {
  const std::shared_ptr<const InferRequest>& kept_request;
  const Interrupt& interrupt;
  Buffers& buffers;
  const TakePortion& take;
  const InferRequest& request = *kept_request;

  // Calls work(item) with the decoded item. Its failure where there is one; throws what concerns all.
  template <typename Work>
  std::optional<Failure> attempt(std::size_t index, const Work& work) const {
    return guard(index, [&](const Limits& limits) { work(decode(request.items[index], request.input, limits, interrupt)); });
  }

  // The same for work that decodes the item itself.
  template <typename Work>
  std::optional<Failure> guard(std::size_t index, const Work& work) const {
    interrupt.check();
    Limits limits;
    limits.max_pixels = request.max_pixels;
    try {
      work(limits);
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

// Calls attempt(i), which returns the failure of the portion's item i, for each of them, in the pool's threads as well.
template <typename Attempt>
void attempt_all(const Task& task, DecodePool& pool, std::size_t first, std::size_t count, Portion& portion,
                 const Attempt& attempt) {
  std::mutex mutex;  // of the portion's failures and time
  auto attempt_some = [&](std::size_t begin, std::size_t end) {
    const auto start = Clock::now();
    std::vector<Failure> failures;
    for (std::size_t i = begin; i < end; ++i) {
      std::optional<Failure> failure = attempt(i);
      if (failure) failures.push_back(std::move(*failure));
    }
    const Microseconds taken = Clock::now() - start;
    std::lock_guard lock(mutex);
    portion.decode_us += taken.count();
    portion.failures.insert(portion.failures.end(), failures.begin(), failures.end());
  };
  const auto items = std::span(task.request.items).subspan(first, count);
  pool.for_each_step(count, items_in_a_step(items, floats_of(portion.size)), attempt_some);
}

Portion decode_portion(const Task& task, DecodePool& pool, TensorSize size, std::size_t first, std::size_t count) {
  const std::size_t floats = floats_of(size);
  Portion portion{.size = size, .tensors = task.buffers.take(count * floats)};
  attempt_all(task, pool, first, count, portion, [&](std::size_t i) {
    return task.attempt(first + i, [&](const Decoded& item) { place(item, task.request, portion.tensors.data() + i * floats); });
  });
  close_holes(portion, first, count);
  return portion;
}

void decode_one_size(const Task& task, DecodePool& pool, TensorSize size) {
  const std::size_t items = task.request.items.size();
  for (std::size_t first = 0, count; first < items; first += count) {
    count = images_at_once(items - first, floats_of(size));
    task.take(decode_portion(task, pool, size, first, count), first + count == items);
  }
}

// ---- values for a device, which makes their tensors

Portion send_portion(const Task& task, DecodePool& pool, Device& device, TensorSize size, std::size_t first, std::size_t count) {
  Portion portion{.size = size};
  std::vector<std::optional<gpu::Sent>> read(count);
  attempt_all(task, pool, first, count, portion, [&](std::size_t i) {
    return task.guard(first + i, [&](const Limits& limits) {
      read[i] = read_for_device(task.request.items[first + i], task.request, limits, task.interrupt);
    });
  });
  std::vector<gpu::Sent> values;
  for (std::size_t i = 0; i < count; ++i) {
    if (!read[i]) continue;
    values.push_back(std::move(*read[i]));
    portion.items.push_back(static_cast<std::uint32_t>(first + i));
  }
  portion.request = task.kept_request;
  if (!values.empty()) portion.sent = device.send(values, task.request.normalisation);
  return portion;
}

// Half as many at a time where the device has no room for a portion.
void send_all(const Task& task, DecodePool& pool, Device& device, TensorSize size) {
  const std::size_t items = task.request.items.size();
  std::size_t most = items;
  for (std::size_t first = 0; first < items;) {
    const std::size_t count = std::min(most, images_at_once(items - first, floats_of(size)));
    Portion portion;
    try {
      portion = send_portion(task, pool, device, size, first, count);
    } catch (const Error& error) {
      if (error.fault() != Fault::out_of_memory || count == 1) throw;
      most = count / 2;
      continue;
    }
    first += count;
    task.take(std::move(portion), first == items);
  }
}

bool are_values(const InferRequest& request) {
  return std::all_of(request.items.begin(), request.items.end(),
                     [](const auto& item) { return item.kind == InferItem::Kind::value; });
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

}  // namespace

std::optional<TensorSize> fixed_size(const ModelInput& input) {
  if (!input.rgb && input.format.size == 0) return std::nullopt;
  return tensor_size(input);
}

void decode_items(const std::shared_ptr<const InferRequest>& kept, const Interrupt& interrupt, Buffers& buffers, DecodePool& pool,
                  Device* device, const TakePortion& take) {
  const Task task{kept, interrupt, buffers, take};
  const InferRequest& request = *kept;
  if (request.items.empty()) {
    take({}, true);
  } else if (const auto size = fixed_size(request.input); size && device && !request.input.rgb && are_values(request)) {
    send_all(task, pool, *device, *size);
  } else if (size) {
    decode_one_size(task, pool, *size);
  } else {
    decode_any_size(task);
  }
}

std::size_t tensor_bytes(const InferOutline& request) {
  constexpr std::size_t kPortions = 3;
  const auto size = fixed_size(request.input);
  const std::size_t floats = size ? floats_of(*size) : kMaxPortionFloats;
  return std::min(request.items * floats, kPortions * std::max(floats, kMaxPortionFloats)) * sizeof(float);
}

void Inference::run(const Portion& portion, Model& model, Wish wish, Batcher& batcher) {
  reply_.decode_us += portion.decode_us;
  reply_.failures.insert(reply_.failures.end(), portion.failures.begin(), portion.failures.end());
  if (portion.items.empty()) return;
  SentImages* const sent = portion.sent.get();
  const std::size_t images = portion.items.size();
  const TensorBatch batch = sent ? TensorBatch({&sent, 1}, images) : TensorBatch(portion.tensors.data(), images);
  try {
    add_scores(portion.items,
               batcher.run({.model = model, .batch = batch, .size = portion.size, .wish = wish, .session = session_}));
    if (sent) look_at_arrival(portion, model, wish, batcher);
  } catch (const Error& error) {
    if (error.fault() != Fault::bad_model) throw;
    if (images == 1) {
      fail(portion.items);
    } else if (sent) {
      for (const std::uint32_t item : portion.items) redo(portion, item, model, wish, batcher);
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
      const BatchRequest one{.model = model, .batch = {tensor, 1}, .size = portion.size, .wish = wish};
      add_scores({&portion.items[i], 1}, batcher.run_alone(one));
    } catch (const Error& error) {
      if (error.fault() != Fault::bad_model) throw;
      fail({&portion.items[i], 1});
    }
  }
}

// With the exception that is being handled.
void Inference::fail(std::span<const std::uint32_t> items) {
  for (const std::uint32_t item : items) reply_.failures.push_back(current_failure(static_cast<std::int32_t>(item)));
}

void Inference::look_at_arrival(const Portion& portion, Model& model, Wish wish, Batcher& batcher) {
  const SentImages::Arrival arrival = portion.sent->arrival();
  reply_.device_times += {.transfer_us = arrival.transfer_us, .decode_us = arrival.decode_us};
  for (const std::uint32_t place : arrival.refused) redo(portion, portion.items[place], model, wish, batcher);
}

// Decodes a value that was sent, and runs the model for it alone.
void Inference::redo(const Portion& portion, std::uint32_t item, Model& model, Wish wish, Batcher& batcher) {
  const InferRequest& request = *portion.request;
  Limits limits;
  limits.max_pixels = request.max_pixels;
  std::vector<float> tensor(floats_of(portion.size));
  try {
    place_normalised(read_image(request.items[item].bytes, limits), request.normalisation, tensor.data());
    const BatchRequest one{.model = model, .batch = {tensor.data(), 1}, .size = portion.size, .wish = wish};
    add_scores({&item, 1}, batcher.run_alone(one));
  } catch (const Error& error) {
    if (concerns_all(error.fault())) throw;
    if (reply_.outputs > 0) {  // it may have scores that mean nothing
      const auto row = static_cast<std::ptrdiff_t>(std::size_t{item} * reply_.outputs);
      std::fill_n(reply_.scores.begin() + row, reply_.outputs, 0.0f);
    }
    fail({&item, 1});
  }
}

void Inference::add_scores(std::span<const std::uint32_t> items, const BatchAnswer& answer) {
  const Scores& scores = *answer.scores;
  reply_.model_us += answer.model_us;
  reply_.device_times += answer.device;
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
