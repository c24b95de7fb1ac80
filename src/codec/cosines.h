// The DCT's constants.
#pragma once

namespace imagecalc {

// cos((2 place + 1) frequency pi / 2 size): [frequency][place], both up to size. size: 4 8 16 ... 256.
const float* cosines(int size);

// 1 / (2 cos((2 place + 1) pi / 2 size)) for the places up to size / 2.
const float* half_secants(int size);

}  // namespace imagecalc
