// Frequency (0,0) of each block is predicted by the blocks to the west, north and north-west (median edge: Martucci,
// "Reversible compression of HDTV images using median adaptive prediction and arithmetic coding", 1990); what is stored is
// the difference. Absent neighbours: 0 for the first block, west in the first row, north in the first column. Differences
// wrap around at 32 bits, so that every int32 has one.
#pragma once

#include "codec/planes.h"
#include "format/format.h"

namespace imagecalc {

// values: one channel's frequency (0,0), a value a block, in raster order.
void to_differences(std::int32_t* values, const Geometry& geometry);
void from_differences(std::int32_t* values, const Geometry& geometry);

// The same for frequency (0,0) of each of the planes' channels.
void from_differences(BytePlanes& planes, int channels, const Geometry& geometry);

}  // namespace imagecalc
