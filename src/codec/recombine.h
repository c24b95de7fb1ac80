// From the coefficients of a JPEG file to those of a format, without pixels.
//
// JPEG's inverse DCT, the repetition of chroma samples, the cut at the picture's edge, scaling, subsampling, padding and our
// DCT are all linear, and work on rows and columns apart. So what they do to one dimension is one matrix, made once for a
// geometry: a row for each kept coefficient of each of our blocks, a column for each coefficient of the few JPEG blocks
// below it. What is not linear is left out, which is the rounding to 8 bits after JPEG's inverse DCT and after its colour
// conversion, or done before (clip.h): the cut of what lies outside 0..255.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "codec/jpeg.h"

namespace imagecalc {

// As transform() gives them: [component][frequency in triangle order][block], not yet quantized. width, height: of the
// picture; the format's size scales it. A component is a plane as it is, minus 128: gray, or Y, Cb and Cr.
std::vector<float> recombine(std::span<const JpegComponent> components, int width, int height, const Format& format,
                             const Interrupt& interrupt);

// How many bytes recombine() takes beside its result, at most, for a component that has a sample for each pixel.
std::int64_t recombine_memory(int width, int height, const Format& format);

}  // namespace imagecalc
