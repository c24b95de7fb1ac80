// One InferRequest: its items become tensors, the tensors scores. The two halves may run in two threads, so that one request
// is decoded while the model runs another.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "runner/batcher.h"
#include "runner/decode_pool.h"
#include "runner/device/device.h"

namespace imagecalc {

// Decoded items of a request that go through the model at once: tensors of one size.
struct Portion {
  TensorSize size{0, 0};
  Buffers::Buffer tensors = {};
  std::shared_ptr<SentImages> sent = {};  // instead of tensors, where a device makes them
  std::shared_ptr<const InferRequest> request = {};  // whose values were sent
  std::vector<std::uint32_t> items = {};  // of which item each tensor is, ascending
  std::vector<Failure> failures = {};     // of items that have none
  float decode_us = 0;                    // all threads together
};

// Takes a request's portions one after the other; one at least, and is told which is the last.
using TakePortion = std::function<void(Portion&&, bool last)>;

// The first half. Where the model's input fixes the tensors' size, the pool's threads help. An item that cannot be decoded
// is a failure of its own; throws what concerns all. device: where the model runs, or null; icimage values are sent there, with
// only their header checked where the device decodes them.
void decode_items(const std::shared_ptr<const InferRequest>& request, const Interrupt& interrupt, Buffers& buffers, DecodePool& pool, Device* device,
                  const TakePortion& take);

// The size of all tensors; nothing where it is the picture's.
std::optional<TensorSize> fixed_size(const ModelInput& input);

// The most bytes of tensors that a request's portions take at a time: one is decoded, one waits, one is in the model. Where
// the tensors' size is not known beforehand each counts as a full one.
std::size_t tensor_bytes(const InferOutline& request);

// The second half: the reply grows with each portion.
class Inference {
 public:
  Inference(std::size_t items, const void* session) : items_(items), session_(session) {}

  // Where a model refuses a portion, it is asked for each item, and those that it refuses fail. Throws what concerns all.
  void run(const Portion& portion, Model& model, Wish wish, Batcher& batcher);
  InferReply finish();

 private:
  void run_one_by_one(const Portion& portion, Model& model, Wish wish, Batcher& batcher);
  void look_at_arrival(const Portion& portion, Model& model, Wish wish, Batcher& batcher);
  void redo(const Portion& portion, std::uint32_t item, Model& model, Wish wish, Batcher& batcher);
  void fail(std::span<const std::uint32_t> items);
  void add_scores(std::span<const std::uint32_t> items, const BatchAnswer& answer);

  const std::size_t items_;
  const void* const session_;
  InferReply reply_;
};

}  // namespace imagecalc
