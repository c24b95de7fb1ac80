// From a picture file to what is stored of it: the one way for casts, COPY, inference and training.
#pragma once

#include "codec/transform.h"

namespace imagecalc {

// A value that is larger than the limit could not be read back: Error(limit_exceeded).
void check_coded_size(const Format& format, const Limits& limits);

// Throws what read_picture throws. The way is chosen by the file's kind and the geometry: a JPEG file's coefficients become
// the format's without pixels where its components are Y, Cb and Cr or gray, it need not be turned, it has more than 64 x 64
// pixels, few of the format's coefficients are kept, and the products fit in 256 MiB; other files are decoded. Three things
// in such a file have it decoded all the same: quantizer steps above 255, scans of a progressive picture that never come,
// and colours so far outside 0..255 that shared chroma samples cannot have them cut (clip.h). So has damage, which decoding
// then reports, or passes where no pixel depends on it. By either way chroma samples are repeated, not smoothed, to the
// picture's size (as djpeg -nosmooth does), so both mean the same picture, to 1.5 grey levels rms in all files measured,
// photographs and saturated drawings. A file made so that clip() overlooks what it should cut can go further.
Coefficients encode_file(Bytes file, const Format& format, const Limits& limits, const Interrupt& interrupt,
                         Orientation orientation = Orientation::as_stored);

}  // namespace imagecalc
