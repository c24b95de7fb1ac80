// LibTorch's ways to run a module.
#pragma once

#include <atomic>
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
  // weight_bytes: of its file, which holds little else; for memory().
  explicit FreezableModule(torch::jit::Module module, std::size_t weight_bytes = 0)
      : module_(std::move(module)), weight_bytes_(weight_bytes) {}

  const torch::jit::Module& plain() const { return module_; }
  const torch::jit::Module& frozen();
  // As plain() and frozen(), to be changed: with code of their own. Clones share their original's, which keeps the code and the
  // constants of all of them until the last one goes, and is not for several threads to add to.
  torch::jit::Module copy();
  torch::jit::Module frozen_copy();

  std::size_t weight_bytes() const { return weight_bytes_; }
  // Its own weights and those of its frozen form.
  std::size_t memory() const { return has_frozen_ ? 2 * weight_bytes_ : weight_bytes_; }

 private:
  const torch::jit::Module module_;
  const std::size_t weight_bytes_;
  std::atomic<bool> has_frozen_ = false;
  std::mutex mutex_;  // of the module's code, and of what follows
  std::optional<torch::jit::Module> frozen_;
};

// The module as it is: what the others are compared with.
Recipe plain_recipe(std::shared_ptr<FreezableModule> module);

std::vector<Recipe> torch_recipes(std::shared_ptr<FreezableModule> module);

}  // namespace imagecalc
