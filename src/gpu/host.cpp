#include "gpu/host.h"

#include <memory>

namespace imagecalc::gpu {

namespace {

template <typename Number>
void place(const BatchView& view, const Affine& affine, Order order, Number* tensors) {
  for (int image = 0; image < view.shape.images; ++image) {
    for (std::uint32_t n = 0; n < kTensorChannels * view.shape.area(); ++n) place_at(view, affine, order, image, n, tensors);
    for (std::uint32_t n = 0; n < large_count(view, image); ++n) place_large_at(view, affine, order, image, n, tensors);
  }
}

}  // namespace

void decode_on_host(const DeviceBatch& batch, const BatchLayout& layout) {
  if (!layout.has_payloads) return;
  const BatchView view = view_of({batch.bytes, batch.workspace, rans::decoding_table()}, layout);
  for (int image = 0; image < layout.shape.images; ++image) decode_image(Lanes(), view, image);
}

void place_on_host(const DeviceBatch& batch, const BatchLayout& layout, const Affine& affine, Order order, NumberKind kind,
                   void* tensors) {
  const BatchView view = view_of(batch, layout);
  switch (kind) {
    case NumberKind::float32:
      return place(view, affine, order, static_cast<float*>(tensors));
    case NumberKind::float16:
      return place(view, affine, order, static_cast<Float16*>(tensors));
    case NumberKind::bfloat16:
      return place(view, affine, order, static_cast<BFloat16*>(tensors));
  }
}

std::vector<bool> run_on_host(const std::uint8_t* batch, const BatchLayout& layout, const Affine& affine, Order order,
                              NumberKind kind, void* tensors) {
  const Workspace parts = workspace_of(layout.shape);
  const std::size_t words = layout.has_payloads ? parts.bytes / sizeof(std::uint64_t) + 1 : 0;
  const auto memory = std::make_unique_for_overwrite<std::uint64_t[]>(words);
  const DeviceBatch here{batch, reinterpret_cast<std::uint8_t*>(memory.get()), nullptr};
  decode_on_host(here, layout);
  place_on_host(here, layout, affine, order, kind, tensors);
  std::vector<bool> refused(static_cast<std::size_t>(layout.shape.images));
  if (!layout.has_payloads) return refused;
  const auto* decoded = reinterpret_cast<const std::uint32_t*>(here.workspace + parts.decoded);
  for (std::size_t image = 0; image < refused.size(); ++image) refused[image] = decoded[image] == kRefused;
  return refused;
}

}  // namespace imagecalc::gpu
