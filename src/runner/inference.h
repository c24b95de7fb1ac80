// One InferRequest: its items become tensors, the tensors scores. The two halves may run in two threads, so that one request
// is decoded while the model runs another.
#pragma once

#include <functional>
#include <span>

#include "runner/batcher.h"

namespace imagecalc {

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
  Inference(std::size_t items, const void* session) : items_(items), session_(session) {}

  // Where a model refuses a portion, it is asked for each item, and those that it refuses fail. Throws what concerns all.
  void run(const Portion& portion, Model& model, Wish wish, Batcher& batcher);
  InferReply finish();

 private:
  void run_one_by_one(const Portion& portion, Model& model, Wish wish, Batcher& batcher);
  void add_scores(std::span<const std::uint32_t> items, const BatchAnswer& answer);

  const std::size_t items_;
  const void* const session_;
  InferReply reply_;
};

}  // namespace imagecalc
