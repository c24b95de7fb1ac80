// Sets the checksum of a stored value, so that damage is read and not only told.
#pragma once

#include <cstdint>
#include <span>

#include "codec/crc32c.h"
#include "codec/value.h"

namespace imagecalc::test {

inline void seal(std::span<std::uint8_t> value) {
  if (value.size() < kValueHeaderSize) return;
  const std::uint32_t crc = crc32c(value.subspan(kValueHeaderSize), crc32c(value.first(20)));
  for (int n = 0; n < 4; ++n) value[20 + n] = static_cast<std::uint8_t>(crc >> 8 * n);
}

}  // namespace imagecalc::test
