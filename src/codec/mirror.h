// Left and right exchanged, on coefficients.
#pragma once

#include "codec/transform.h"

namespace imagecalc {

// Whether the coefficients of a mirrored picture are the picture's own, in another order and with other signs: not where
// columns are added on the right, to fill blocks, nor where of each two columns the left one is kept.
bool mirrors_exactly(const Format& format, int coded_width);

// The coefficients of the mirrored picture. In a row of blocks they come in the opposite order, and the cosines of odd
// horizontal frequencies change their sign: cos((2(B-1-x) + 1) j pi / 2B) = (-1)^j cos((2x + 1) j pi / 2B). Only where
// mirrors_exactly: Error(invalid_argument).
Coefficients mirrored(Coefficients coefficients);

}  // namespace imagecalc
