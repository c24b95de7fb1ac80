#include "gpu/host.h"

#include <memory>

namespace imagecalc::gpu {

template <typename Number>
std::vector<bool> run_on_host(const std::uint8_t* batch, const BatchLayout& layout, const Affine& affine, Order order,
                              Number* tensors) {
  const BatchShape& shape = layout.shape;
  const Workspace parts = workspace_of(shape);
  const std::size_t words = layout.has_payloads ? parts.bytes / sizeof(std::uint64_t) : 0;
  const auto memory = std::make_unique_for_overwrite<std::uint64_t[]>(words);
  auto* workspace = reinterpret_cast<std::uint8_t*>(memory.get());
  const BatchView view{shape,
                       batch,
                       reinterpret_cast<const Large*>(batch + layout.large_begin),
                       rans::decoding_table(),
                       workspace + parts.planes,
                       reinterpret_cast<Large*>(workspace + parts.large),
                       reinterpret_cast<std::uint32_t*>(workspace + parts.decoded),
                       workspace + parts.scratch};
  std::vector<bool> refused;
  for (int image = 0; image < shape.images; ++image) {
    if (layout.has_payloads) decode_image(Lanes(), view, image);
    refused.push_back(layout.has_payloads && view.decoded[image] == kRefused);
    for (std::uint32_t n = 0; n < kTensorChannels * shape.area(); ++n) place_at(view, affine, order, image, n, tensors);
    for (std::uint32_t n = 0; n < large_count(view, image); ++n) place_large_at(view, affine, order, image, n, tensors);
  }
  return refused;
}

template std::vector<bool> run_on_host(const std::uint8_t*, const BatchLayout&, const Affine&, Order, float*);
template std::vector<bool> run_on_host(const std::uint8_t*, const BatchLayout&, const Affine&, Order, Float16*);
template std::vector<bool> run_on_host(const std::uint8_t*, const BatchLayout&, const Affine&, Order, BFloat16*);

}  // namespace imagecalc::gpu
