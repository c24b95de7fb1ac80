// The DCT's constants.
#pragma once

#include <array>

#include "format/format.h"

namespace imagecalc {

// cos(pi n / 2 kMaxBlock), once around: every angle of every block's DCT. Made of operations that IEEE 754 rounds exactly,
// so it is the same bits with every CPU and C library, whose own cosines are not.
using Circle = std::array<double, 4 * kMaxBlock>;
const Circle& circle();

// cos((2 place + 1) frequency pi / 2 size): [frequency][place], both up to size. size: 4 8 16 ... 256.
const float* cosines(int size);

// 1 / (2 cos((2 place + 1) pi / 2 size)) for the places up to size / 2.
const float* half_secants(int size);

}  // namespace imagecalc
