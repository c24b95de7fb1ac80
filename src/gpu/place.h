// From planes to a tensor, an element at a time: what codec/tensor.h does to whole images. Bit for bit the same numbers.
#pragma once

#include "codec/planes.h"
#include "gpu/batch.h"
#include "gpu/number.h"

namespace imagecalc::gpu {

// Multiplied, rounded, added, rounded: not fused, which the CPU's code is not, either.
IMAGECALC_DEVICE inline float apply(std::int32_t value, float factor, float shift) {
#ifdef __CUDA_ARCH__
  return __fadd_rn(__fmul_rn(static_cast<float>(value), factor), shift);
#else
  return static_cast<float>(value) * factor + shift;
#endif
}

// planes: of one image. Where the tensor has a place outside the triangle there is 0, chroma of gray is 0 before it is normalised.
IMAGECALC_DEVICE inline float element(const std::uint8_t* planes, std::uint32_t channels, const BatchShape& shape,
                                      const Affine& affine, std::uint32_t channel, std::uint32_t y, std::uint32_t x) {
  const std::uint32_t kept = static_cast<std::uint32_t>(shape.kept);
  const std::uint32_t i = y % kept, j = x % kept, diagonal = i + j;
  if (diagonal >= kept) return 0;
  std::uint32_t zigzag = 0;
  if (channel < channels) {
    const std::uint32_t block = y / kept * static_cast<std::uint32_t>(shape.blocks_across) + x / kept;
    const std::uint32_t frequency = diagonal * (diagonal + 1) / 2 + i;
    zigzag = planes[channel * shape.channel_size() + frequency * shape.blocks() + block];
  }
  return apply(from_zigzag(zigzag), affine.factor[channel], affine.shift[channel]);
}

// Where a tensor has an element of image 0.
IMAGECALC_DEVICE inline std::uint64_t offset_of(const BatchShape& shape, Order order, std::uint32_t channel, std::uint32_t y,
                                                std::uint32_t x) {
  const std::uint64_t pixel = std::uint64_t{y} * static_cast<std::uint32_t>(shape.width()) + x;
  return order == Order::channels_last ? pixel * kTensorChannels + channel : std::uint64_t{channel} * shape.area() + pixel;
}

// The element n of an image's part of the tensor, in the order in which the tensor has them.
template <typename Number>
IMAGECALC_DEVICE void place_element(const std::uint8_t* planes, std::uint32_t channels, const BatchShape& shape,
                                    const Affine& affine, Order order, std::uint32_t n, Number* tensor) {
  const std::uint32_t area = shape.area(), width = static_cast<std::uint32_t>(shape.width());
  const std::uint32_t channel = order == Order::channels_last ? n % kTensorChannels : n / area;
  const std::uint32_t pixel = order == Order::channels_last ? n / kTensorChannels : n % area;
  tensor[n] = number_of<Number>(element(planes, channels, shape, affine, channel, pixel / width, pixel % width));
}

// The diagonal that a place in the order of frequencies is on: the largest d with d (d + 1) / 2 <= frequency.
IMAGECALC_DEVICE inline std::uint32_t diagonal_of(std::uint32_t frequency) {
  std::uint32_t diagonal = 0;
  while ((diagonal + 1) * (diagonal + 2) / 2 <= frequency) ++diagonal;
  return diagonal;
}

// Puts a large coefficient where place_element has put something else.
template <typename Number>
IMAGECALC_DEVICE void place_large(const Large& large, const BatchShape& shape, const Affine& affine, Order order,
                                  Number* tensor) {
  const std::uint32_t channel = large.place / shape.channel_size(), place = large.place % shape.channel_size();
  const std::uint32_t frequency = place / shape.blocks(), block = place % shape.blocks();
  const std::uint32_t diagonal = diagonal_of(frequency), i = frequency - diagonal * (diagonal + 1) / 2, j = diagonal - i;
  const std::uint32_t kept = static_cast<std::uint32_t>(shape.kept), across = static_cast<std::uint32_t>(shape.blocks_across);
  const std::uint64_t to = offset_of(shape, order, channel, block / across * kept + i, block % across * kept + j);
  tensor[to] = number_of<Number>(apply(large.value, affine.factor[channel], affine.shift[channel]));
}

}  // namespace imagecalc::gpu
