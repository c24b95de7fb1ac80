// LibTorch's ways to run a module.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "runner/engine/plan.h"
#include "runner/engine/torch_module.h"

namespace imagecalc {

// A module in evaluation mode, and its frozen form, made when it is first needed: its methods inlined, its weights
// constants, batch norm folded into the convolutions.
class FreezableModule {
 public:
  explicit FreezableModule(torch::jit::Module module) : module_(std::move(module)) {}

  const torch::jit::Module& plain() const { return module_; }
  const torch::jit::Module& frozen();

 private:
  const torch::jit::Module module_;
  std::mutex mutex_;
  std::optional<torch::jit::Module> frozen_;
};

// The module as it is: what the others are compared with.
Recipe plain_recipe(std::shared_ptr<FreezableModule> module);

std::vector<Recipe> torch_recipes(std::shared_ptr<FreezableModule> module);

}  // namespace imagecalc
