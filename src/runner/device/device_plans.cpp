#include "runner/device/device_plans.h"

#include <c10/core/StreamGuard.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>

#include "runner/device/sent_tensors.h"
#include "runner/engine/specialise.h"

namespace imagecalc {

namespace {

using torch::jit::Module;

// How a plan wants its tensors, and what is done to the module.
struct Steps {
  bool specialise = false, channels_last = false, bf16 = false, record = false;

  at::MemoryFormat layout() const { return channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous; }
  at::ScalarType type() const { return bf16 ? at::kBFloat16 : at::kFloat; }
  gpu::Order order() const { return channels_last ? gpu::Order::channels_last : gpu::Order::channels_first; }
  gpu::NumberKind kind() const { return bf16 ? gpu::NumberKind::bfloat16 : gpu::NumberKind::float32; }
};

// Of a frozen module, whose weights are constants of its code. Single numbers stay: a traced module computes sizes with some of them,
// and reads the results on the CPU, which would wait for the device; with its tensors they mix.
void move_constants(torch::jit::Block* block, c10::Device place, at::ScalarType type) {
  for (torch::jit::Node* node : block->nodes()) {
    for (torch::jit::Block* inner : node->blocks()) move_constants(inner, place, type);
    if (node->kind() != c10::prim::Constant || !node->hasAttribute(c10::attr::value)) continue;
    if (node->kindOf(c10::attr::value) != torch::jit::AttributeKind::t) continue;
    const at::Tensor constant = node->t(c10::attr::value);
    if (constant.dim() == 0) continue;
    node->t_(c10::attr::value, constant.to(place, constant.scalar_type() == at::kFloat ? type : constant.scalar_type()));
  }
}

Module plain_module(FreezableModule& module, c10::Device place) {
  Module made = module.copy();
  made.to(place);
  return made;
}

Module prepared_module(const Steps& steps, FreezableModule& module, TensorSize size, c10::Device place) {
  Module made = module.frozen_copy();
  if (steps.specialise) specialise(made, size);
  if (steps.channels_last) use_channels_last(made);
  move_constants(made.get_method("forward").graph()->block(), place, steps.type());
  made.to(place, steps.type());
  return made;
}

SentTensors& sent(SentImages* images) { return static_cast<SentTensors&>(*images); }

// What all plans of a model on a device have in common.
struct Common {
  std::shared_ptr<Backend> backend;
  std::shared_ptr<Recordings> recordings;
  std::shared_ptr<FreezableModule> module;
};

class DevicePlan : public Plan {
 public:
  DevicePlan(const Common& common, Module module, TensorSize size, Steps steps)
      : backend_(common.backend),
        recordings_(common.recordings),
        module_(std::move(module)),
        size_(size),
        steps_(steps),
        weight_bytes_(common.module->weight_bytes()) {}

  Scores run(const TensorBatch& batch, int) override {
    return guard_device(*backend_, [&] {
      c10::InferenceMode no_gradients;
      c10::StreamGuard guard(batch.sent.empty() ? backend_->next_stream() : sent(batch.sent.front()).stream());
      return batch.sent.empty() ? run_tensors(batch) : run_sent(batch);
    });
  }

  std::size_t memory() const override { return weight_bytes_; }

 protected:
  virtual at::Tensor forward_once(const at::Tensor& input) { return forward(module_, input); }

  at::Tensor empty_input(std::size_t images) const {
    return at::empty({static_cast<std::int64_t>(images), 3, size_.height, size_.width},
                     at::TensorOptions(steps_.type()).device(backend_->place()).memory_format(steps_.layout()));
  }

  Backend& backend() { return *backend_; }
  Recordings& recordings() { return *recordings_; }

 private:
  Scores run_tensors(const TensorBatch& batch) {
    const at::Tensor input = room_for(batch.images);
    const auto begin = backend_->mark();
    input.copy_(at::from_blob(const_cast<float*>(batch.tensors), input.sizes(), at::kFloat));
    const auto copied = backend_->mark();
    Scores scores = run_from(*copied, input);
    scores.device.transfer_us = backend_->us_between(*begin, *copied);
    return scores;
  }

  Scores run_sent(const TensorBatch& batch) {
    const at::Tensor input = room_for(batch.images);
    for (SentImages* images : batch.sent) sent(images).await_arrival();
    const auto begin = backend_->mark();
    std::int64_t first = 0;
    for (SentImages* images : batch.sent) {
      SentTensors& part = sent(images);
      part.place(steps_.order(), steps_.kind(), input.narrow(0, first, part.images()).data_ptr());
      first += part.images();
    }
    return run_from(*begin, input);
  }

  at::Tensor room_for(std::size_t images) {
    return guard_memory(*backend_, *recordings_, [&] { return empty_input(images); });
  }

  // begin: since when the time counts as the model's.
  Scores run_from(const Backend::Mark& begin, const at::Tensor& input) {
    const at::Tensor given = forward_in_parts(input);
    const auto end = backend_->mark();
    const at::Tensor values = given.to(at::kCPU, at::kFloat).contiguous();
    const float* first = values.data_ptr<float>();
    Scores scores{static_cast<std::uint32_t>(values.size(1)), {first, first + values.numel()}};
    scores.device.model_us = backend_->us_between(begin, *end);
    return scores;
  }

  // In halves where the device's memory is too small for all.
  at::Tensor forward_in_parts(const at::Tensor& input) {
    const std::int64_t images = input.size(0);
    try {
      return guard_memory(*backend_, *recordings_, [&] { return forward_once(input); });
    } catch (const Error& error) {
      if (error.fault() != Fault::out_of_memory || images == 1) throw;
    }
    const at::Tensor first = forward_in_parts(input.narrow(0, 0, images / 2));
    return at::cat({first, forward_in_parts(input.narrow(0, images / 2, images - images / 2))});
  }

  const std::shared_ptr<Backend> backend_;
  const std::shared_ptr<Recordings> recordings_;
  Module module_;
  const TensorSize size_;
  const Steps steps_;
  const std::size_t weight_bytes_;
};

// The device repeats a recording of the module's kernels for a number of images: starting them one by one takes longer than they do
// on small tensors. Other numbers go in pieces of that.
class RecordedPlan : public DevicePlan, private Recordings::Keeper {
 public:
  template <typename... Arguments>
  explicit RecordedPlan(std::size_t batch, Arguments&&... arguments)
      : DevicePlan(std::forward<Arguments>(arguments)...), batch_(static_cast<std::int64_t>(batch)) {
    recordings().add(*this);
  }
  ~RecordedPlan() override { recordings().remove(*this); }

  std::size_t memory() const override { return DevicePlan::memory() + recorded_bytes_; }

 protected:
  at::Tensor forward_once(const at::Tensor& input) override {
    const std::int64_t images = input.size(0), left = images % batch_;
    const std::int64_t replayed = fills_a_piece(left) ? images : images - left;
    const std::optional<at::Tensor> scores = replay(input.narrow(0, 0, replayed));
    if (!scores) return DevicePlan::forward_once(input);
    if (replayed == images) return *scores;
    return at::cat({*scores, DevicePlan::forward_once(input.narrow(0, replayed, left))});
  }

 private:
  using Clock = std::chrono::steady_clock;

  // Whether so many images are worth a piece, which takes as long as a full one. Eight at once take hardly longer than one.
  bool fills_a_piece(std::int64_t images) const {
    constexpr std::int64_t kSmall = 8;
    return batch_ <= kSmall || 2 * images >= batch_;
  }

  // Nothing where there is nothing to replay, or no room for a recording.
  std::optional<at::Tensor> replay(const at::Tensor& input) {
    std::lock_guard lock(mutex_);  // its memory serves one piece at a time
    const std::int64_t images = input.size(0);
    if (images == 0 || !has_recording()) return std::nullopt;
    const at::Tensor scores = at::empty({images, output_.size(1)}, output_.options());
    backend().follow(*last_);  // a batch of another stream
    for (std::int64_t first = 0; first < images; first += batch_) {
      const std::int64_t count = std::min(batch_, images - first);
      input_.narrow(0, 0, count).copy_(input.narrow(0, first, count));
      recording_->repeat();
      scores.narrow(0, first, count).copy_(output_.narrow(0, 0, count));
    }
    last_ = backend().mark();
    return scores;
  }

  // The mutex is held. Makes one where there is none, unless it was given up a while ago. A plan that never had room for one is none.
  bool has_recording() {
    if (recording_) return true;
    if (Clock::now() < rests_until_) return false;
    try {
      guard_device(backend(), [&] { record(); });
    } catch (const Error& error) {
      forget();
      if (error.fault() != Fault::out_of_memory) throw;
      if (!has_recorded_) throw Error(Fault::bad_model, "there is no room to record " + std::to_string(batch_) + " images");
      return false;
    }
    has_recorded_ = true;
    return true;
  }

  void record() {
    constexpr int kWarmUps = 3;  // LibTorch optimises a module as it runs
    input_ = empty_input(static_cast<std::size_t>(batch_)).zero_();
    for (int i = 0; i < kWarmUps; ++i) DevicePlan::forward_once(input_);
    auto recording = backend().record([this] { output_ = DevicePlan::forward_once(input_); });
    recorded_bytes_ = recording->bytes();
    last_ = backend().mark();
    recording_ = std::move(recording);
  }

  bool drop_recording() override {
    std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock || !recording_) return false;
    backend().wait(*last_);
    forget();
    return true;
  }

  // The mutex is held. Does without for a while, each time for longer: whoever needed its memory is likely to need it again.
  void forget() {
    constexpr std::chrono::hours kLongest{1};
    recording_.reset();
    output_ = input_ = at::Tensor();
    last_.reset();
    recorded_bytes_ = 0;
    rests_until_ = Clock::now() + rest_;
    rest_ = std::min<Clock::duration>(2 * rest_, kLongest);
  }

  const std::int64_t batch_;
  std::atomic<std::size_t> recorded_bytes_ = 0;
  std::mutex mutex_;  // of what follows
  at::Tensor input_, output_;
  std::unique_ptr<Backend::Recording> recording_;
  std::shared_ptr<Backend::Mark> last_;  // when its memory was last used
  bool has_recorded_ = false;  // once at least
  Clock::time_point rests_until_ = {};
  Clock::duration rest_ = std::chrono::minutes{1};
};

// The plans of one size and batch are shared by all choices, those of plain modules by all batches.
using Shared = SharedPlans<std::tuple<int, int, std::size_t>>;

// make: the plan. Its weights are there when this returns, for streams that do not wait for one another.
template <typename Make>
std::shared_ptr<Plan> make_plan(const Common& common, const Make& make) {
  Backend& backend = *common.backend;
  return guard_memory(backend, *common.recordings, [&] {
    c10::StreamGuard guard(backend.next_stream());
    std::shared_ptr<Plan> plan = make();
    backend.wait(*backend.mark());
    return plan;
  });
}

Recipe plain_recipe_on(const Common& common) {
  auto made = std::make_shared<Shared>();
  auto make = [=](TensorSize size, std::size_t) {
    return made->get({size.height, size.width, 0}, [&] {
      return make_plan(common, [&] {
        return std::make_shared<DevicePlan>(common, plain_module(*common.module, common.backend->place()), size, Steps{});
      });
    });
  };
  return {EngineChoice::libtorch, "plain", std::move(make), false, kDeviceTolerance};
}

Recipe prepared_recipe(const char* name, const Common& common, Steps steps) {
  auto made = std::make_shared<Shared>();
  auto make = [=](TensorSize size, std::size_t batch) {
    return made->get({size.height, size.width, steps.record ? batch : 0}, [&] {
      return make_plan(common, [&]() -> std::shared_ptr<Plan> {
        Module ready = prepared_module(steps, *common.module, size, common.backend->place());
        if (steps.record) return std::make_shared<RecordedPlan>(batch, common, std::move(ready), size, steps);
        return std::make_shared<DevicePlan>(common, std::move(ready), size, steps);
      });
    });
  };
  return {EngineChoice::libtorch, name, std::move(make), steps.bf16, steps.bf16 ? kBf16Tolerance : kDeviceTolerance};
}

}  // namespace

std::vector<Recipe> device_recipes(std::shared_ptr<Backend> backend, std::shared_ptr<Recordings> recordings,
                                   std::shared_ptr<FreezableModule> module) {
  const Common common{std::move(backend), std::move(recordings), std::move(module)};
  auto prepared = [&](const char* name, Steps steps) { return prepared_recipe(name, common, steps); };
  return {plain_recipe_on(common),
          prepared("specialised, channels last, recorded", {.specialise = true, .channels_last = true, .record = true}),
          prepared("specialised, recorded", {.specialise = true, .record = true}),
          prepared("bf16, channels last, recorded", {.channels_last = true, .bf16 = true, .record = true}),
          prepared("specialised, channels last", {.specialise = true, .channels_last = true})};
}

}  // namespace imagecalc
