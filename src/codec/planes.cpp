#include "codec/planes.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace imagecalc {

BytePlanes BytePlanes::copy() const {
  BytePlanes same(size_);
  std::memcpy(same.bytes(), bytes(), size_ + kSlack);
  same.large = large;
  return same;
}

BytePlanes to_planes(const std::int32_t* values, std::size_t size) {
  BytePlanes planes(size);
  std::uint8_t* bytes = planes.bytes();
  for (std::size_t n = 0; n < size; ++n) {
    bytes[n] = static_cast<std::uint8_t>(std::min<std::uint32_t>(to_zigzag(values[n]), BytePlanes::kLarge));
  }
  for (std::size_t n = find_byte(bytes, 0, size, 128); n < size; n = find_byte(bytes, n + 1, size, 128)) {
    if (bytes[n] == BytePlanes::kLarge) planes.large.push_back({n, values[n]});
  }
  return planes;
}

void to_values(const BytePlanes& planes, std::int32_t* values) {
  const std::uint8_t* bytes = planes.bytes();
  for (std::size_t n = 0; n < planes.size(); ++n) values[n] = from_zigzag(bytes[n]);
  for (const BytePlanes::Large& large : planes.large) values[large.place] = large.value;
}

std::size_t find_byte(const std::uint8_t* bytes, std::size_t at, std::size_t size, unsigned least) {
  const std::uint64_t high_bits = (256 - least) * 0x0101010101010101u;
  for (; at < size; at += sizeof(std::uint64_t)) {
    std::uint64_t eight;
    std::memcpy(&eight, bytes + at, sizeof eight);
    if (std::uint64_t found = eight & high_bits; found != 0) {
      const int bits = std::endian::native == std::endian::little ? std::countr_zero(found) : std::countl_zero(found);
      return std::min(size, at + bits / 8);
    }
  }
  return size;
}

std::size_t size_without_zeros(const std::uint8_t* bytes, std::size_t size) {
  constexpr std::size_t kStep = 32;
  for (; size >= kStep; size -= kStep) {
    std::uint64_t words[kStep / 8];
    std::memcpy(words, bytes + size - kStep, kStep);
    if (words[0] | words[1] | words[2] | words[3]) break;
  }
  while (size > 0 && bytes[size - 1] == 0) --size;
  return size;
}

}  // namespace imagecalc
