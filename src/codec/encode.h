// From a picture file to what is stored of it: the one way for casts, COPY, inference and training.
#pragma once

#include "codec/transform.h"

namespace imagecalc {

// Throws what read_picture throws. The way is chosen by the file's kind and the geometry: a JPEG file's coefficients become
// the format's without pixels where its components are Y, Cb and Cr or gray, it need not be turned, it has more than 64 x 64
// pixels, and few of the format's coefficients are kept; other files are decoded. Two things in such a file have it decoded
// all the same: quantizer steps above 255, and scans of a progressive picture that never come. So has damage, which decoding
// then reports, or passes where no pixel depends on it. By either way chroma samples are repeated, not smoothed, to the
// picture's size (as djpeg -nosmooth does), so both mean the same picture, to 1.5 grey levels rms.
Coefficients encode_file(Bytes file, const Format& format, const Limits& limits, const Interrupt& interrupt,
                         Orientation orientation = Orientation::as_stored);

}  // namespace imagecalc
