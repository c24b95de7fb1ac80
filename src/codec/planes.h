// Quantized coefficients as bytes: one byte a coefficient, since almost all are small.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace imagecalc {

// v as z = (v << 1) ^ (v >> 31): 0, -1, 1, -2, 2 ... become 0, 1, 2, 3, 4 ...
constexpr std::uint32_t to_zigzag(std::int32_t value) {
  return static_cast<std::uint32_t>(value) << 1 ^ static_cast<std::uint32_t>(value >> 31);
}
constexpr std::int32_t from_zigzag(std::uint32_t zigzag) {
  return static_cast<std::int32_t>(zigzag >> 1 ^ (0u - (zigzag & 1)));
}

// In the order of Coefficients::values: [channel][frequency in triangle order][block].
class BytePlanes {
 public:
  static constexpr std::uint8_t kLarge = 255;  // the byte of a coefficient whose z is 255 or more
  static constexpr std::size_t kSlack = 64;    // bytes after the last one that vectors may read and write

  struct Large {
    std::size_t place;
    std::int32_t value;
  };

  explicit BytePlanes(std::size_t size)
      : size_(size), bytes_(std::make_unique_for_overwrite<std::uint8_t[]>(size + kSlack)) {}

  BytePlanes copy() const;

  std::size_t size() const { return size_; }
  std::uint8_t* bytes() { return bytes_.get(); }
  const std::uint8_t* bytes() const { return bytes_.get(); }

  // Those with the byte kLarge, by place.
  std::vector<Large> large;

 private:
  std::size_t size_;
  std::unique_ptr<std::uint8_t[]> bytes_;
};

BytePlanes to_planes(const std::int32_t* values, std::size_t size);
void to_values(const BytePlanes& planes, std::int32_t* values);

// The next byte that is `least` or more, from `at` on, or size; least: a power of two. kSlack bytes after the last may be
// read.
std::size_t find_byte(const std::uint8_t* bytes, std::size_t at, std::size_t size, unsigned least);

// How many bytes there are up to the last one that is not 0.
std::size_t size_without_zeros(const std::uint8_t* bytes, std::size_t size);

}  // namespace imagecalc
