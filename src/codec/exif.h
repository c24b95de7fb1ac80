// EXIF: which way up a picture is.
#pragma once

#include "codec/picture.h"

namespace imagecalc {

// 1..8 as EXIF numbers them, of a JPEG, PNG or WebP file; 1 (as stored) where the file does not say or is damaged.
int exif_orientation(Bytes file);

// The picture as it is to be looked at.
Picture upright(Picture picture, int orientation, const Interrupt& interrupt = {});

}  // namespace imagecalc
