// The stored form of an icimage value, version 1. All integers little-endian.
//
//   offset size
//        0    1  magic 0x1C
//        1    1  version 1
//        2    1  coder: 0 = zstd (zstd_coder.h), 1 = rANS with fixed tables (rans.h)
//        3    1  channels: 1 or 3
//        4    4  packed format
//        8    2  coded width        10  2  coded height
//       12    4  source width       16  4  source height
//       20    4  CRC-32C of the 20 bytes before it and of the payload
//       24       payload
//
// What the coder codes is a byte a coefficient, in the order channel, frequency (by diagonal), block (raster): its zigzag
// number (planes.h), where that is below 255. Of frequency (0,0) it is the difference from a prediction (prediction.h). A
// value holds all that is needed to read it.
//
// Version 1 is frozen: test/unit/fixtures_test.cpp reads values that were written when it was.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "codec/planes.h"
#include "codec/transform.h"

namespace imagecalc {

inline constexpr std::size_t kValueHeaderSize = 24;

struct ValueHeader {
  Format format;
  int channels;
  int coded_width, coded_height;
  std::uint32_t source_width, source_height;

  Geometry geometry() const { return imagecalc::geometry(format, coded_width, coded_height); }

  // How many quantized values the payload must hold.
  std::int64_t value_count() const;
};

// Effort, 1 to 19; the same coefficients come out. 1 to 3: one pass of rANS. 4 to 9: the best of its gains. 10 to 19: zstd
// at that level as well, and the smaller one is kept; photographs gain little, drawings with much that repeats may gain a
// lot. Up to 9 the same coefficients give the same bytes everywhere; from 10 on also only with the same version of libzstd.
inline constexpr int kDefaultCompressionLevel = 3, kMinCompressionLevel = 1, kMaxCompressionLevel = 19;

std::vector<std::uint8_t> write_value(const Coefficients& coefficients, int compression_level,
                                      const Interrupt& interrupt = {});

enum class Coder : std::uint8_t { zstd = 0, rans = 1 };
inline constexpr std::array kCoders = {Coder::zstd, Coder::rans};

// With one coder only, for measurements and tests.
std::vector<std::uint8_t> write_value(const Coefficients& coefficients, int compression_level, Coder coder,
                                      const Interrupt& interrupt = {});

// What a coder codes: the coefficients, frequency (0,0) as differences.
BytePlanes difference_planes(const Coefficients& coefficients);

// Reads only the header (the first kValueHeaderSize bytes are enough). Throws Error(corrupt_value), or limit_exceeded where
// the picture would hold more than limits.max_pixels.
ValueHeader read_value_header(Bytes value, const Limits& limits);

// A value's coefficients as bytes, frequency (0,0) no longer as differences: what tensors are made of (tensor.h).
struct StoredImage {
  ValueHeader header;
  BytePlanes planes;
};

// A value that is whole, by its checksum; what the coder made of its coefficients is still to be decoded.
struct StoredPayload {
  ValueHeader header;
  Coder coder;
  Bytes bytes;  // within the value
};

// Throws Error(corrupt_value), Error(limit_exceeded).
StoredPayload read_payload(Bytes value, const Limits& limits);

// Both read and check a whole value. Throw Error(corrupt_value), Error(limit_exceeded), Error(cancelled).
StoredImage read_image(Bytes value, const Limits& limits, const Interrupt& interrupt = {});
Coefficients read_value(Bytes value, const Limits& limits, const Interrupt& interrupt = {});

}  // namespace imagecalc
