// A batch of values as it crosses to the device, in one copy, and what it becomes there.
//
//   ImageEntry[images]     one after the other, from the batch's first byte
//   planes or payloads     of each image, at a multiple of 16
//   Large[large]           of all images whose planes are sent, at a multiple of 8
//
// An image's planes are its coefficients as the value layout has them (codec/value.h), frequency (0,0) no longer as differences:
// a zigzag byte each, [channel][frequency in triangle order][block], 255 where the coefficient is among the large ones. Its
// payload is what coder 1 made of it (codec/rans.h): a device may decode it itself (entropy.h), into planes of its own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format/format.h"
#include "gpu/lanes.h"

namespace imagecalc::gpu {

inline constexpr int kTensorChannels = 3;

// What all images of a batch have in common.
struct BatchShape {
  int images = 0, kept = 1, blocks_across = 1, blocks_down = 1;

  IMAGECALC_DEVICE std::uint32_t blocks() const {
    return static_cast<std::uint32_t>(blocks_across) * static_cast<std::uint32_t>(blocks_down);
  }
  IMAGECALC_DEVICE std::uint32_t channel_size() const {
    return static_cast<std::uint32_t>(kept) * static_cast<std::uint32_t>(kept + 1) / 2 * blocks();
  }
  IMAGECALC_DEVICE int height() const { return blocks_down * kept; }
  IMAGECALC_DEVICE int width() const { return blocks_across * kept; }
  IMAGECALC_DEVICE std::uint32_t area() const {
    return static_cast<std::uint32_t>(height()) * static_cast<std::uint32_t>(width());
  }
};

struct ImageEntry {
  std::uint64_t begin;        // of the planes, or of the payload, in the batch
  std::uint32_t payload;      // its bytes; 0: planes
  std::uint32_t channels;     // 1 or 3
  std::uint32_t first_large;  // of planes: its large ones among the batch's
  std::uint32_t large;
};

// A coefficient that a byte cannot hold.
struct Large {
  std::uint32_t place;  // in its image's planes
  std::int32_t value;
};

// value * factor + shift, of each channel of the tensor.
struct Affine {
  float factor[kTensorChannels], shift[kTensorChannels];
};

enum class Order : std::uint8_t {
  channels_first,  // [images][channels][height][width]
  channels_last    // [images][height][width][channels]
};

}  // namespace imagecalc::gpu
