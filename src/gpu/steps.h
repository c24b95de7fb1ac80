// What a device does with a batch, step by step; each is independent of its neighbours within a step. The kernels and the CPU's
// reference (host.h) call the same functions.
//
//   1  decode_image     a warp for each image: payloads become planes
//   2  place_at         a thread for each element of the tensor
//   3  place_large_at   a thread for each large coefficient, over what step 2 has put there
#pragma once

#include "gpu/entropy.h"
#include "gpu/pack.h"
#include "gpu/place.h"

namespace imagecalc::gpu {

// A batch on the device. What it is decoded into is there only where an image comes as a payload.
struct BatchView {
  BatchShape shape;
  const std::uint8_t* bytes;  // as batch.h has them
  const Large* large;         // of images whose planes were sent

  const std::uint32_t* table;  // rans::decoding_table()
  std::uint8_t* planes;        // [images][3][channel_size]
  Large* decoded_large;        // [images][large_room]
  std::uint32_t* decoded;      // [images]: how many large ones of a payload, or kRefused; else 0
  std::uint8_t* scratch;       // [images][scratch_bytes]

  IMAGECALC_DEVICE const ImageEntry& entry(int image) const { return reinterpret_cast<const ImageEntry*>(bytes)[image]; }
};

// The device could not decode an image: its part of the tensor is not to be used.
inline constexpr std::uint32_t kRefused = ~0u;

// What a decoded batch takes beside its bytes, in the order of BatchView, each part at a multiple of 16.
struct Workspace {
  std::uint64_t planes, large, decoded, scratch;  // where they begin
  std::uint64_t bytes;
};

inline Workspace workspace_of(const BatchShape& shape) {
  auto rounded = [](std::uint64_t bytes) { return (bytes + 15) / 16 * 16; };
  const std::uint64_t images = static_cast<std::uint64_t>(shape.images);
  Workspace workspace{};
  workspace.large = rounded(images * kTensorChannels * shape.channel_size());
  workspace.decoded = workspace.large + rounded(images * large_room(shape) * sizeof(Large));
  workspace.scratch = workspace.decoded + rounded(images * sizeof(std::uint32_t));
  workspace.bytes = workspace.scratch + images * scratch_bytes(shape);
  return workspace;
}

inline BatchView view_of(const DeviceBatch& batch, const BatchLayout& layout) {
  BatchView view{};
  view.shape = layout.shape;
  view.bytes = batch.bytes;
  view.large = reinterpret_cast<const Large*>(batch.bytes + layout.large_begin);
  view.table = batch.table;
  if (layout.has_payloads) {
    const Workspace parts = workspace_of(layout.shape);
    view.planes = batch.workspace + parts.planes;
    view.decoded_large = reinterpret_cast<Large*>(batch.workspace + parts.large);
    view.decoded = reinterpret_cast<std::uint32_t*>(batch.workspace + parts.decoded);
    view.scratch = batch.workspace + parts.scratch;
  }
  return view;
}

IMAGECALC_DEVICE inline std::uint8_t* planes_of(const BatchView& batch, int image) {
  return batch.planes + static_cast<std::uint64_t>(image) * kTensorChannels * batch.shape.channel_size();
}
IMAGECALC_DEVICE inline Large* large_of(const BatchView& batch, int image) {
  return batch.decoded_large + static_cast<std::uint64_t>(image) * large_room(batch.shape);
}

IMAGECALC_LANES inline void decode_image(const Lanes& lanes, const BatchView& batch, int image) {
  const ImageEntry& entry = batch.entry(image);
  if (entry.payload == 0) {
    lanes.each([&](int lane) {
      if (lane == 0) batch.decoded[image] = 0;
    });
    return;
  }
  EntropyDecoder decoder(lanes, batch.shape,
                         {batch.bytes + entry.begin, entry.payload, entry.channels, batch.table, planes_of(batch, image),
                          large_of(batch, image), batch.scratch + static_cast<std::uint64_t>(image) * scratch_bytes(batch.shape)});
  const std::uint32_t found = decoder.run() ? decoder.large() : kRefused;
  lanes.each([&](int lane) {
    if (lane == 0) batch.decoded[image] = found;
  });
}

// n: of the image's elements, in the order in which the tensor has them.
template <typename Number>
IMAGECALC_DEVICE void place_at(const BatchView& batch, const Affine& affine, Order order, int image, std::uint32_t n,
                               Number* tensors) {
  const ImageEntry& entry = batch.entry(image);
  const std::uint8_t* planes = entry.payload == 0 ? batch.bytes + entry.begin : planes_of(batch, image);
  place_element(planes, entry.channels, batch.shape, affine, order, n,
                tensors + static_cast<std::uint64_t>(image) * kTensorChannels * batch.shape.area());
}

// How many large coefficients an image has.
IMAGECALC_DEVICE inline std::uint32_t large_count(const BatchView& batch, int image) {
  const ImageEntry& entry = batch.entry(image);
  if (entry.payload == 0) return entry.large;
  return batch.decoded[image] == kRefused ? 0 : batch.decoded[image];
}

// n: of the image's large coefficients.
template <typename Number>
IMAGECALC_DEVICE void place_large_at(const BatchView& batch, const Affine& affine, Order order, int image, std::uint32_t n,
                                     Number* tensors) {
  const ImageEntry& entry = batch.entry(image);
  const Large& large = entry.payload == 0 ? batch.large[entry.first_large + n] : large_of(batch, image)[n];
  place_large(large, batch.shape, affine, order,
              tensors + static_cast<std::uint64_t>(image) * kTensorChannels * batch.shape.area());
}

}  // namespace imagecalc::gpu
