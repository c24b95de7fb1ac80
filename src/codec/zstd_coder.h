// Coder 0 of the value layout: one zstd frame without magic, size or checksum. In it the bytes of the planes, then the large
// coefficients as int32 in the order of their places, at most one for 16 coefficients and 16 more: so that few bytes cannot
// ask for much memory.
#pragma once

#include "codec/picture.h"
#include "codec/planes.h"

namespace imagecalc::zstd {

bool can_encode(const BytePlanes& planes);

// level: zstd's, 1..19. Appends the payload, whose bytes depend on libzstd's version. The planes must be such as
// can_encode() allows: Error(invalid_argument).
void encode(const BytePlanes& planes, int level, std::vector<std::uint8_t>& out, const Interrupt& interrupt);

// Throws Error(corrupt_value), before memory is asked for where the payload cannot hold so many coefficients.
BytePlanes decode(Bytes payload, std::size_t size, const Interrupt& interrupt);

}  // namespace imagecalc::zstd
