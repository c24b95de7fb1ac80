// One InferRequest: its items become tensors, the tensors scores. The two halves may run in two threads, so that one request
// is decoded while the model runs another.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
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

// Decoded items of a request that go through the model at once: tensors of one size.
struct Portion {
  TensorSize size{0, 0};
  std::vector<float> tensors;
  std::vector<std::uint32_t> items;  // of which item each tensor is, ascending
  std::vector<Failure> failures;     // of items that have none
  float decode_us = 0;
};

// The first half: hands the request's portions to `take`, one after the other. An item that cannot be decoded is a failure
// of its own; throws what concerns all. `buffer` gives memory for the tensors, used or not.
void decode_items(const InferRequest& request, const Interrupt& interrupt, const std::function<std::vector<float>()>& buffer,
                  const std::function<void(Portion&&)>& take);

// The second half: the reply grows with each portion.
class Inference {
 public:
  explicit Inference(std::size_t items) : items_(items) {}

  // Where a model refuses a portion, it is asked for each item, and those that it refuses fail. Throws what concerns all.
  void run(const Portion& portion, Model& model, EngineChoice engine, Cores& cores);
  InferReply finish();

 private:
  void run_one_by_one(const Portion& portion, Model& model, EngineChoice engine, Cores& cores);
  void run_model(const Portion& portion, Model& model, EngineChoice engine, Cores& cores);
  void add_scores(const Portion& portion, const Scores& scores);

  const std::size_t items_;
  InferReply reply_;
};

}  // namespace imagecalc
