// Frequency (0,0) of each block is predicted by the blocks to the west, north and north-west (median edge: Martucci,
// "Reversible compression of HDTV images using median adaptive prediction and arithmetic coding", 1990); what is stored is
// the difference. Absent neighbours: 0 for the first block, west in the first row, north in the first column. Differences
// wrap around at 32 bits, so that every int32 has one.
#pragma once

#include "codec/planes.h"
#include "format/format.h"

namespace imagecalc {

// The lower of the two where north-west is not below either, the higher where it is not above either, else the plane through
// all three: which is the middle one of west, north and west + north - north-west.
constexpr std::int32_t median_edge(std::int32_t west, std::int32_t north, std::int32_t north_west) {
  const std::int64_t low = west < north ? west : north, high = west < north ? north : west, plane = low + high - north_west;
  return static_cast<std::int32_t>(plane < low ? low : plane > high ? high : plane);
}

// What is predicted where the blocks before (down, across) in raster order are known.
constexpr std::int32_t predict(const std::int32_t* values, int blocks_across, int down, int across) {
  const std::int32_t* here = values + static_cast<std::int64_t>(down) * blocks_across + across;
  if (down == 0) return across == 0 ? 0 : here[-1];
  if (across == 0) return here[-blocks_across];
  return median_edge(here[-1], here[-blocks_across], here[-blocks_across - 1]);
}

// a + b, around at 32 bits.
constexpr std::int32_t wrapped_sum(std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
}

// values: one channel's frequency (0,0), a value a block, in raster order.
void to_differences(std::int32_t* values, const Geometry& geometry);
void from_differences(std::int32_t* values, const Geometry& geometry);

// The same for frequency (0,0) of each of the planes' channels.
void from_differences(BytePlanes& planes, int channels, const Geometry& geometry);

}  // namespace imagecalc
