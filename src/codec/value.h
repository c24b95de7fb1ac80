// The stored form of an icimage value, version 1. All integers little-endian.
//
//   offset size
//        0    1  magic 0x1C
//        1    1  version 1
//        2    1  coder: 0 = zigzag bytes in one zstd frame without magic, size or checksum
//        3    1  channels: 1 or 3
//        4    4  packed format
//        8    2  coded width        10  2  coded height
//       12    4  source width       16  4  source height
//       20    4  CRC-32C of the payload
//       24       payload
//
// Payload before the coder: a byte plane, then the escaped values. The byte plane has one byte a coefficient in the order
// channel, frequency (by diagonal), block (raster): z = (v << 1) ^ (v >> 31) where z < 255, else 255 and v follows the byte
// plane as int32, in order. v is the quantized coefficient, but for frequency (0,0), where it is the difference from the
// median-edge prediction by the blocks to the west, north and north-west (absent ones count as 0; first row: west; first
// column: north).
#pragma once

#include <cstdint>
#include <vector>

#include "codec/transform.h"

namespace imagecalc {

inline constexpr std::size_t kValueHeaderSize = 24;

struct ValueHeader {
  Format format;
  int channels;
  int coded_width, coded_height;
  std::uint32_t source_width, source_height;

  // How many quantized values the payload must hold.
  std::int64_t value_count() const;
};

// Compression effort: zstd's level, 1..19.
inline constexpr int kDefaultCompressionLevel = 3;

std::vector<std::uint8_t> write_value(const Coefficients& coefficients, int compression_level);

// Reads only the header (the first kValueHeaderSize bytes are enough). Throws Error(corrupt_value), or limit_exceeded where
// the picture would hold more than limits.max_pixels.
ValueHeader read_value_header(Bytes value, const Limits& limits);

// Reads and checks a whole value. Throws Error(corrupt_value), Error(limit_exceeded).
Coefficients read_value(Bytes value, const Limits& limits);

}  // namespace imagecalc
