#include "runner/device/sent_tensors.h"

#include <c10/core/InferenceMode.h>
#include <c10/core/StreamGuard.h>

#include "gpu/steps.h"

namespace imagecalc {

namespace {

std::uint8_t* bytes_of(const at::Tensor& tensor) { return tensor.data_ptr<std::uint8_t>(); }

}  // namespace

SentTensors::SentTensors(std::shared_ptr<Backend> backend, std::span<const gpu::Sent> values, const Normalisation& normalisation)
    : backend_(std::move(backend)),
      layout_(gpu::lay_out(values)),
      affine_(gpu::affine_of(gpu::format_of(values.front()), normalisation)),
      stream_(backend_->next_stream()) {
  c10::InferenceMode no_gradients;
  c10::StreamGuard guard(stream_);
  staging_ = backend_->staging(static_cast<std::int64_t>(layout_.bytes));
  gpu::pack(values, layout_, bytes_of(staging_));
  const auto there = at::TensorOptions(at::kByte).device(backend_->place());
  bytes_ = at::empty(static_cast<std::int64_t>(layout_.bytes), there);
  begin_ = backend_->mark();
  bytes_.copy_(staging_, true);
  copied_ = backend_->mark();
  if (layout_.has_payloads) decode(there);
  decoded_ = layout_.has_payloads ? backend_->mark() : copied_;
}

void SentTensors::decode(const at::TensorOptions& there) {
  const gpu::Workspace parts = gpu::workspace_of(layout_.shape);
  workspace_ = at::empty(static_cast<std::int64_t>(parts.bytes), there);
  backend_->decode(batch(), layout_);
  const auto bytes = static_cast<std::int64_t>(sizeof(std::uint32_t)) * layout_.shape.images;
  found_ = backend_->staging(bytes);
  found_.copy_(workspace_.narrow(0, static_cast<std::int64_t>(parts.decoded), bytes), true);
}

SentImages::Arrival SentTensors::arrival() {
  backend_->wait(*decoded_);
  Arrival arrival{backend_->us_between(*begin_, *copied_), backend_->us_between(*copied_, *decoded_), {}};
  if (!layout_.has_payloads) return arrival;
  const auto* found = reinterpret_cast<const std::uint32_t*>(bytes_of(found_));
  for (int i = 0; i < layout_.shape.images; ++i) {
    if (found[i] == gpu::kRefused) arrival.refused.push_back(static_cast<std::uint32_t>(i));
  }
  return arrival;
}

void SentTensors::place(gpu::Order order, gpu::NumberKind kind, void* tensors) {
  backend_->place(batch(), layout_, affine_, order, kind, tensors);
  backend_->keep_for_current_stream(bytes_);
  if (workspace_.defined()) backend_->keep_for_current_stream(workspace_);
}

gpu::DeviceBatch SentTensors::batch() const {
  return {bytes_of(bytes_), workspace_.defined() ? bytes_of(workspace_) : nullptr, nullptr};
}

}  // namespace imagecalc
