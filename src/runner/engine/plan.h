// The ways to run a model. One model has several, which differ in speed alone.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "runner/engine/engine.h"

namespace imagecalc {

// A model made ready for tensors of one size. Several threads may use it at once.
class Plan {
 public:
  virtual ~Plan() = default;

  // As Model::run. Takes any number of images; sent ones only where the plan is a device's.
  virtual Scores run(const TensorBatch& batch, int threads) = 0;

  // About how many bytes it keeps for itself: weights that it does not share with the module, and buffers. Never waits.
  virtual std::size_t memory() const { return 0; }
};

// How far a plan's score may be from the plain one, beside how far the plain scores of a class lie apart over the trial's
// images. Rounding is a tenth of it; a plan that is wrong is off by a hundred times as much.
inline constexpr float kScoreTolerance = 2e-3f;

// The same for plans that compute in bfloat16, whose numbers have 8 bits. Most networks are off by a percent; what amplifies
// rounding more than that, as deep untrained ones do, is refused. The effect on a model's answers is measured when it is trained.
inline constexpr float kBf16Tolerance = 5e-2f;

// The same for plans of a device, beside the CPU's or each other's: its convolutions may round to 10 bits what they multiply (TF32,
// LibTorch's default), and its kernels add in another order.
inline constexpr float kDeviceTolerance = 1e-2f;

// How to make a plan.
struct Recipe {
  EngineChoice engine = EngineChoice::libtorch;
  std::string name;
  // For batches of about that many images. Throws an exception that says why where it cannot.
  std::function<std::shared_ptr<Plan>(TensorSize size, std::size_t batch)> make;
  bool bf16 = false;  // it computes in bfloat16: for those only who allow that
  float tolerance = kScoreTolerance;
};

// The plans of a recipe that are in use, so that no two choices make the same one.
template <typename Key>
class SharedPlans {
 public:
  template <typename Make>
  std::shared_ptr<Plan> get(const Key& key, Make&& make) {
    std::lock_guard lock(mutex_);
    std::weak_ptr<Plan>& known = plans_[key];
    std::shared_ptr<Plan> plan = known.lock();
    if (!plan) known = plan = make();
    return plan;
  }

 private:
  std::mutex mutex_;
  std::map<Key, std::weak_ptr<Plan>> plans_;
};

}  // namespace imagecalc
