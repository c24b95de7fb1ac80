// Values put together as a batch, ready to cross to a device.
#pragma once

#include <span>
#include <variant>

#include "codec/tensor.h"
#include "gpu/batch.h"

namespace imagecalc::gpu {

// An image as it is sent: decoded here, or to be decoded there.
using Sent = std::variant<StoredImage, StoredPayload>;

const Format& format_of(const Sent& image);

// Whether a device can decode it: coder 1, and not larger than entropy.h allows.
bool device_decodes(const StoredPayload& payload);

struct BatchLayout {
  BatchShape shape;
  std::uint64_t bytes = 0;        // of the whole batch
  std::uint64_t large_begin = 0;  // of the large coefficients
  std::uint32_t most_large = 0;   // that an image has, of those whose planes are sent
  bool has_payloads = false;
};

enum class NumberKind : std::uint8_t { float32, float16, bfloat16 };

// Where a batch lies on the device, and what its payloads are decoded into: workspace_of(layout.shape).bytes, where it has any.
struct DeviceBatch {
  const std::uint8_t* bytes;
  std::uint8_t* workspace;
  const std::uint32_t* table;  // rans::decoding_table(), there
};

// Throws Error(wrong_format) where the images differ in format or size, Error(invalid_argument) for a payload that a device does
// not decode, Error(limit_exceeded) where one channel of a tensor has 2^30 places or more, or there are more than 2^20 images.
// images: one at least.
BatchLayout lay_out(std::span<const Sent> images);

// batch: layout.bytes, at a multiple of 16.
void pack(std::span<const Sent> images, const BatchLayout& layout, std::uint8_t* batch);

// How a tensor is made of a format's integers, as place_normalised() does it.
Affine affine_of(const Format& format, const Normalisation& normalisation);

}  // namespace imagecalc::gpu
