#include "runner/device/device_plans.h"

#include <c10/core/StreamGuard.h>

#include "runner/device/device_guard.h"
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

// Of a frozen module, whose weights are constants of its code.
void move_constants(torch::jit::Block* block, c10::Device place, at::ScalarType type) {
  for (torch::jit::Node* node : block->nodes()) {
    for (torch::jit::Block* inner : node->blocks()) move_constants(inner, place, type);
    if (node->kind() != c10::prim::Constant || !node->hasAttribute(c10::attr::value)) continue;
    if (node->kindOf(c10::attr::value) != torch::jit::AttributeKind::t) continue;
    const at::Tensor constant = node->t(c10::attr::value);
    const bool is_weight = constant.scalar_type() == at::kFloat && constant.dim() > 0;
    node->t_(c10::attr::value, constant.to(place, is_weight ? type : constant.scalar_type()));
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

class DevicePlan : public Plan {
 public:
  DevicePlan(std::shared_ptr<Backend> backend, Module module, TensorSize size, Steps steps, std::size_t weight_bytes)
      : backend_(std::move(backend)), module_(std::move(module)), size_(size), steps_(steps), weight_bytes_(weight_bytes) {}

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

  Backend& backend() { return *backend_; }

 private:
  Scores run_tensors(const TensorBatch& batch) {
    const at::Tensor input = empty_input(batch.images);
    const auto begin = backend_->mark();
    input.copy_(at::from_blob(const_cast<float*>(batch.tensors), input.sizes(), at::kFloat));
    const auto copied = backend_->mark();
    Scores scores = run_from(*copied, input);
    scores.device.transfer_us = backend_->us_between(*begin, *copied);
    return scores;
  }

  Scores run_sent(const TensorBatch& batch) {
    const at::Tensor input = empty_input(batch.images);
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

  at::Tensor empty_input(std::size_t images) const {
    return at::empty({static_cast<std::int64_t>(images), 3, size_.height, size_.width},
                     at::TensorOptions(steps_.type()).device(backend_->place()).memory_format(steps_.layout()));
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
      return guard_device(*backend_, [&] { return forward_once(input); });
    } catch (const Error& error) {
      if (error.fault() != Fault::out_of_memory || images == 1) throw;
    }
    const at::Tensor first = forward_in_parts(input.narrow(0, 0, images / 2));
    return at::cat({first, forward_in_parts(input.narrow(0, images / 2, images - images / 2))});
  }

  const std::shared_ptr<Backend> backend_;
  Module module_;
  const TensorSize size_;
  const Steps steps_;
  const std::size_t weight_bytes_;
};

// For batches of one size the device repeats a recording of the module's kernels: starting them one by one takes longer than
// they do on small tensors.
class RecordedPlan : public DevicePlan {
 public:
  template <typename... Arguments>
  explicit RecordedPlan(std::size_t batch, Arguments&&... arguments)
      : DevicePlan(std::forward<Arguments>(arguments)...), batch_(static_cast<std::int64_t>(batch)) {}

 protected:
  at::Tensor forward_once(const at::Tensor& input) override {
    if (input.size(0) != batch_) return DevicePlan::forward_once(input);
    std::lock_guard lock(mutex_);  // its memory serves one batch at a time
    if (!recording_) record(input);
    const at::Tensor scores = at::empty_like(output_);
    if (last_) backend().follow(*last_);  // a batch of another stream
    input_.copy_(input);
    recording_->repeat();
    scores.copy_(output_);
    last_ = backend().mark();
    return scores;
  }

 private:
  void record(const at::Tensor& input) {
    constexpr int kWarmUps = 3;  // LibTorch optimises a module as it runs
    input_ = input.clone();
    for (int i = 0; i < kWarmUps; ++i) DevicePlan::forward_once(input_);
    recording_ = backend().record([this] { output_ = DevicePlan::forward_once(input_); });
  }

  const std::int64_t batch_;
  std::mutex mutex_;  // of what follows
  at::Tensor input_, output_;
  std::unique_ptr<Backend::Recording> recording_;
  std::shared_ptr<Backend::Mark> last_;  // when its memory was last read
};

// The plans of one size and batch are shared by all choices, those of plain modules by all batches.
using Shared = SharedPlans<std::tuple<int, int, std::size_t>>;

Recipe plain_recipe_on(std::shared_ptr<Backend> backend, std::shared_ptr<FreezableModule> module) {
  auto made = std::make_shared<Shared>();
  return {EngineChoice::libtorch, "plain", [=](TensorSize size, std::size_t) {
            return made->get({size.height, size.width, 0}, [&]() -> std::shared_ptr<Plan> {
              return guard_device(*backend, [&] {
                return std::make_shared<DevicePlan>(backend, plain_module(*module, backend->place()), size, Steps{},
                                                    module->weight_bytes());
              });
            });
          }};
}

Recipe prepared_recipe(const char* name, std::shared_ptr<Backend> backend, std::shared_ptr<FreezableModule> module,
                       Steps steps) {
  auto made = std::make_shared<Shared>();
  auto make = [=](TensorSize size, std::size_t batch) {
    return made->get({size.height, size.width, steps.record ? batch : 0}, [&]() -> std::shared_ptr<Plan> {
      return guard_device(*backend, [&]() -> std::shared_ptr<Plan> {
        Module ready = prepared_module(steps, *module, size, backend->place());
        const std::size_t bytes = module->weight_bytes();
        if (steps.record) return std::make_shared<RecordedPlan>(batch, backend, std::move(ready), size, steps, bytes);
        return std::make_shared<DevicePlan>(backend, std::move(ready), size, steps, bytes);
      });
    });
  };
  return {EngineChoice::libtorch, name, std::move(make), steps.bf16};
}

}  // namespace

std::vector<Recipe> device_recipes(std::shared_ptr<Backend> backend, std::shared_ptr<FreezableModule> module) {
  auto prepared = [&](const char* name, Steps steps) { return prepared_recipe(name, backend, module, steps); };
  return {plain_recipe_on(backend, module),
          prepared("specialised, channels last, recorded", {.specialise = true, .channels_last = true, .record = true}),
          prepared("specialised, recorded", {.specialise = true, .record = true}),
          prepared("bf16, channels last, recorded", {.channels_last = true, .bf16 = true, .record = true}),
          prepared("specialised, channels last", {.specialise = true, .channels_last = true})};
}

}  // namespace imagecalc
