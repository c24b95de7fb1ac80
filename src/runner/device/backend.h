// What LibTorch does not do alike for every device: the few things that TorchDevice asks of CUDA. The plug-in answers with CUDA
// itself; the tests, on the CPU, with the reference code of src/gpu.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/Stream.h>

#include "gpu/pack.h"

namespace imagecalc {

class Backend {
 public:
  // A point of a stream's work.
  class Mark {
   public:
    virtual ~Mark() = default;
  };
  // Work that was recorded once and is repeated on the same memory.
  class Recording {
   public:
    virtual ~Recording() = default;
    virtual void repeat() = 0;  // on the current stream
    virtual std::size_t bytes() const = 0;  // that it keeps on the device, about
  };

  virtual ~Backend() = default;

  virtual c10::Device place() const = 0;
  virtual std::string name() const = 0;
  virtual std::string description() const = 0;

  // One of a few, which take turns.
  virtual c10::Stream next_stream() = 0;
  // Bytes on the CPU from which copies go without anybody waiting.
  virtual at::Tensor staging(std::int64_t bytes) = 0;

  // These are for the current stream, and return at once. batch.table is ignored: it is there already.
  virtual std::shared_ptr<Mark> mark() = 0;
  virtual void follow(const Mark& mark) = 0;  // what comes next waits for it
  virtual void keep_for_current_stream(const at::Tensor& tensor) = 0;  // of another stream: its memory is in use until here
  virtual void decode(const gpu::DeviceBatch& batch, const gpu::BatchLayout& layout) = 0;
  virtual void place(const gpu::DeviceBatch& batch, const gpu::BatchLayout& layout, const gpu::Affine& affine, gpu::Order order,
                     gpu::NumberKind kind, void* tensors) = 0;

  // Both wait for the marks.
  virtual void wait(const Mark& mark) = 0;
  virtual float us_between(const Mark& begin, const Mark& end) = 0;

  // work: on tensors that stay where they are. Follows the current stream, and has run once when that goes on.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& work) = 0;

  // Whether the device still works, after an error.
  virtual bool answers() = 0;

  // Set once the device has failed: nothing works on it any more in this process.
  std::atomic<bool> has_failed = false;
};

using Backends = std::vector<std::unique_ptr<Backend>>;

}  // namespace imagecalc
