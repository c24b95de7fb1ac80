#include "runner/engine/torch_plans.h"

#include <ATen/Parallel.h>
#include <omp.h>

#include <sstream>

#include "runner/engine/specialise.h"

namespace imagecalc {

namespace {

using torch::jit::Module;

// Gives this thread its share of the cores: at::set_num_threads would change every thread's.
void use_threads(int threads) {
  at::get_num_threads();  // LibTorch sets the number itself when a thread first asks
  omp_set_num_threads(threads);
}

class TorchPlan : public Plan {
 public:
  TorchPlan(Module module, TensorSize size, at::MemoryFormat layout, std::size_t own_bytes = 0)
      : module_(std::move(module)), size_(size), layout_(layout), own_bytes_(own_bytes) {}

  Scores run(const TensorBatch& batch, int threads) override {
    use_threads(threads);
    c10::InferenceMode no_gradients;
    std::int64_t shape[] = {static_cast<std::int64_t>(batch.images), 3, size_.height, size_.width};
    at::Tensor input = at::from_blob(const_cast<float*>(batch.tensors), shape, at::kFloat).contiguous(layout_);
    at::Tensor scores = forward(module_, input).to(at::kCPU, at::kFloat).contiguous();
    const float* begin = scores.data_ptr<float>();
    return {static_cast<std::uint32_t>(scores.size(1)), {begin, begin + scores.numel()}};
  }
  std::size_t memory() const override { return own_bytes_; }

 private:
  Module module_;
  const TensorSize size_;
  const at::MemoryFormat layout_;
  const std::size_t own_bytes_;
};

// What is done to a frozen module before it runs.
struct Steps {
  bool specialise = false, channels_last = false, optimize = false;

  bool change_weights() const { return specialise || channels_last || optimize; }
};

Module freeze_module(const Module& module) {
  return guard_torch("the module could not be frozen", [&] { return torch::jit::freeze(module); });
}

Module apply(const Steps& steps, FreezableModule& module, TensorSize size) {
  if (!steps.change_weights()) return module.frozen();
  Module made = module.frozen_copy();
  if (steps.specialise) specialise(made, size);
  if (steps.channels_last) use_channels_last(made);
  if (steps.optimize) made = torch::jit::optimize_for_inference(made);
  return made;
}

Recipe torch_recipe(const char* name, std::shared_ptr<FreezableModule> module, Steps steps) {
  auto made = std::make_shared<SharedPlans<TensorSize>>();
  auto layout = steps.channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  return {EngineChoice::libtorch, name, [=](TensorSize size, std::size_t) {
            return made->get(size, [&]() -> std::shared_ptr<Plan> {
              return guard_torch("the module could not be optimised", [&] {
                const std::size_t own_bytes = steps.change_weights() ? module->weight_bytes() : 0;
                return std::make_shared<TorchPlan>(apply(steps, *module, size), size, layout, own_bytes);
              });
            });
          }};
}

}  // namespace

const Module& FreezableModule::frozen() {
  std::lock_guard lock(mutex_);
  if (!frozen_) {
    frozen_ = freeze_module(module_);
    has_frozen_ = true;
  }
  return *frozen_;
}

Module FreezableModule::copy() {
  std::stringstream file;
  {
    std::lock_guard lock(mutex_);
    module_.save(file);
  }
  Module made = torch::jit::load(file);
  made.eval();
  return made;
}

Module FreezableModule::frozen_copy() { return freeze_module(copy()); }

Recipe plain_recipe(std::shared_ptr<FreezableModule> module) {
  return {EngineChoice::libtorch, "plain", [=](TensorSize size, std::size_t) {
            return std::make_shared<TorchPlan>(module->plain(), size, at::MemoryFormat::Contiguous);
          }};
}

// Those first that are likely to be the fastest.
std::vector<Recipe> torch_recipes(std::shared_ptr<FreezableModule> module) {
  return {
      torch_recipe("specialised, channels last", module, {.specialise = true, .channels_last = true}),
      torch_recipe("specialised, optimised", module, {.specialise = true, .optimize = true}),
      torch_recipe("optimised", module, {.optimize = true}),
      torch_recipe("frozen, channels last", module, {.channels_last = true}),
      torch_recipe("specialised", module, {.specialise = true}),
      torch_recipe("frozen", module, {}),
  };
}

}  // namespace imagecalc
