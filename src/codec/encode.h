// From a picture file to what is stored of it: the one way for casts, COPY, inference and training.
#pragma once

#include "codec/transform.h"

namespace imagecalc {

// Throws what read_picture throws. The way is chosen by the file's header and the format: a JPEG file's coefficients become
// the format's without pixels where its components are Y, Cb and Cr or gray, it need not be turned, and few of the format's
// coefficients are kept; other files are decoded. By either way chroma samples are repeated, not smoothed, to the picture's
// size (as djpeg -nosmooth does), so both mean the same picture.
Coefficients encode_file(Bytes file, const Format& format, const Limits& limits, const Interrupt& interrupt,
                         Orientation orientation = Orientation::as_stored);

}  // namespace imagecalc
