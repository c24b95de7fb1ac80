// One InferRequest: its items become tensors, the tensors scores.
#pragma once

#include <algorithm>
#include <atomic>
#include <semaphore>

#include "runner/model_cache.h"

namespace imagecalc {

// Shares the machine's cores between the models that run at the same time.
class Cores {
 public:
  explicit Cores(int count) : count_(count), slots_(count) {}

  // A place among those who may run; threads() says how many threads it may use.
  class Turn {
   public:
    explicit Turn(Cores& cores) : cores_(cores) {
      cores_.slots_.acquire();
      threads_ = std::max(1, cores_.count_ / ++cores_.running_);
    }
    ~Turn() {
      --cores_.running_;
      cores_.slots_.release();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    int threads() const { return threads_; }

   private:
    Cores& cores_;
    int threads_;
  };

 private:
  const int count_;
  std::counting_semaphore<> slots_;
  std::atomic<int> running_ = 0;
};

// InferReply, NeedModel or Failure (with the item that it concerns). Throws what the model throws.
Message infer(const InferRequest& request, ModelCache& models, Cores& cores, const Interrupt& interrupt);

}  // namespace imagecalc
