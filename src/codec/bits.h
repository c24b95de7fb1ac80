// Bits in bytes, the lowest first.
#pragma once

#include <cstdint>
#include <vector>

#include "codec/picture.h"

namespace imagecalc {

class BitWriter {
 public:
  // count: 0..32; value has no bits above them.
  void put(std::uint32_t value, int count) {
    pending_ |= std::uint64_t{value} << used_;
    for (used_ += count; used_ >= 8; used_ -= 8, pending_ >>= 8) bytes_.push_back(static_cast<std::uint8_t>(pending_));
  }

  // The last byte is filled up with zeros.
  const std::vector<std::uint8_t>& finish() {
    if (used_ > 0) put(0, 8 - used_);
    return bytes_;
  }

 private:
  std::vector<std::uint8_t> bytes_;
  std::uint64_t pending_ = 0;
  int used_ = 0;
};

// Reads zeros past the end; exhausted() tells.
class BitReader {
 public:
  explicit BitReader(Bytes bytes) : bytes_(bytes) {}

  // count: 0..32.
  std::uint32_t take(int count) {
    if (used_ < count) refill();
    const std::uint32_t value = static_cast<std::uint32_t>(pending_ & ((std::uint64_t{1} << count) - 1));
    pending_ >>= count;
    used_ -= count;
    return value;
  }

  bool exhausted() const { return bytes_read() > bytes_.size(); }
  // Bytes begun so far, and whether the rest of the last one is zeros.
  std::size_t bytes_read() const { return next_ - used_ / 8; }
  bool rest_is_zero() const { return (pending_ & ((1u << used_ % 8) - 1)) == 0; }

 private:
  void refill() {
    for (const int until = used_ + 32; used_ < until; used_ += 8, ++next_) {
      pending_ |= std::uint64_t{next_ < bytes_.size() ? bytes_[next_] : std::uint8_t{0}} << used_;
    }
  }

  Bytes bytes_;
  std::size_t next_ = 0;
  std::uint64_t pending_ = 0;
  int used_ = 0;
};

}  // namespace imagecalc
