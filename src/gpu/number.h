// The numbers that tensors are made of, and the way to them from float: to the nearest, ties to even, as IEEE 754 has it.
#pragma once

#include <cstdint>
#include <cstring>

#include "gpu/lanes.h"

namespace imagecalc::gpu {

struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

IMAGECALC_DEVICE inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// value / 2^shift, rounded. shift: 1..31.
IMAGECALC_DEVICE inline std::uint32_t shift_rounded(std::uint32_t value, int shift) {
  const std::uint32_t half = 1u << (shift - 1), rest = value & ((1u << shift) - 1), result = value >> shift;
  return result + (rest > half || (rest == half && (result & 1)));
}

template <typename Number>
IMAGECALC_DEVICE Number number_of(float value);

template <>
IMAGECALC_DEVICE inline float number_of<float>(float value) {
  return value;
}

template <>
IMAGECALC_DEVICE inline BFloat16 number_of<BFloat16>(float value) {
  const std::uint32_t bits = bits_of(value);
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return {static_cast<std::uint16_t>(is_nan ? bits >> 16 | 0x40u : shift_rounded(bits, 16))};
}

// 5 bits of exponent, counted from -15, and 10 of mantissa. What is rounded up to the next exponent carries into it.
template <>
IMAGECALC_DEVICE inline Float16 number_of<Float16>(float value) {
  constexpr int kDropped = 23 - 10, kBias = 127 - 15, kInfinity = 0x7c00;
  const std::uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000u;
  const int exponent = static_cast<int>(bits >> 23 & 0xff) - kBias;
  const std::uint32_t mantissa = bits & 0x7fffffu;
  std::uint32_t result;
  if (exponent > 30) {
    result = exponent == 255 - kBias && mantissa != 0 ? kInfinity | 0x200u | mantissa >> kDropped : kInfinity;
  } else if (exponent > 0) {
    result = shift_rounded(static_cast<std::uint32_t>(exponent) << 23 | mantissa, kDropped);
  } else if (exponent >= -10) {
    result = shift_rounded(mantissa | 0x800000u, kDropped + 1 - exponent);  // less than 2^-14: no leading one
  } else {
    result = 0;
  }
  return {static_cast<std::uint16_t>(sign | result)};
}

}  // namespace imagecalc::gpu
