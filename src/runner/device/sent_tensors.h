// Values that were sent to a device, and become LibTorch's tensors there.
#pragma once

#include "runner/device/backend.h"
#include "runner/device/device.h"

namespace imagecalc {

class SentTensors : public SentImages {
 public:
  // Begins the copy, on a stream that is this batch's from now on.
  SentTensors(std::shared_ptr<Backend> backend, std::span<const gpu::Sent> values, const Normalisation& normalisation);

  Arrival arrival() override;

  int images() const { return layout_.shape.images; }
  c10::Stream stream() const { return stream_; }

  // Both on the current stream. Before place(), it must have been made to wait.
  void await_arrival() { backend_->follow(*decoded_); }
  // tensors: [images] of 3 x height x width numbers, in that order, wherever these are in a larger tensor.
  void place(gpu::Order order, gpu::NumberKind kind, void* tensors);

 private:
  void decode(const at::TensorOptions& there);
  gpu::DeviceBatch batch() const;

  const std::shared_ptr<Backend> backend_;
  const gpu::BatchLayout layout_;
  const gpu::Affine affine_;
  const c10::Stream stream_;
  at::Tensor bytes_, workspace_;
  at::Tensor staging_, found_;  // on the CPU: what is copied, and BatchView::decoded
  std::shared_ptr<Backend::Mark> begin_, copied_, decoded_;
};

}  // namespace imagecalc
