// Pixels to quantized coefficients and back.
//
// Orthonormal DCT-II on B x B blocks: DCT[i,j] = 2/B C(i)C(j) sum_kl f(k,l) cos((2k+1)i pi/2B) cos((2l+1)j pi/2B),
// C(0) = 1/sqrt2, else 1. One summation order everywhere and no fused multiply-add, so that the same pixels give the same
// coefficients on every machine. Colour conversion is linear, so it runs on the few coefficients that are kept.
#pragma once

#include <cstdint>
#include <vector>

#include "codec/dct.h"
#include "codec/picture.h"

namespace imagecalc {

// The kept coefficients of one picture, quantized. values: [channel][frequency in triangle order][block in raster order].
struct Coefficients {
  Format format;
  int channels = 0;                         // 1 (gray) or 3 (Y, Cb, Cr)
  int coded_width = 0, coded_height = 0;    // after scaling, 1..65535
  std::uint32_t source_width = 0, source_height = 0;
  std::vector<std::int32_t> values;

  Geometry geometry() const { return imagecalc::geometry(format, coded_width, coded_height); }
};

// Subsamples, pads to whole blocks by repeating the last row and column, transforms, and converts RGB to YCbCr.
// Samples are 0..255, RGB or gray. Result: [channel][frequency][block], the triangle i+j < kept; 128 has been taken off.
// The values for a smaller kept are, channel by channel, a prefix of those for a larger one but for rounding: how a block's
// DCT is computed depends on kept as well (see dct.h).
std::vector<float> transform(const Planes& planes, Subsampling subsampling, int block, int kept,
                             const Interrupt& interrupt);

// The same, straight from a picture's box. method: for measuring.
std::vector<float> transform(const Picture& picture, const Box& box, Subsampling subsampling, int block, int kept,
                             const Interrupt& interrupt, DctMethod method = DctMethod::chosen);

// coefficient / quantizer, rounded to nearest (ties to even). values: as many as coefficients.
void quantize(const float* coefficients, std::size_t count, int quantizer, std::int32_t* values);

// What is stored of a picture of this size, its values still to come. Throws Error(limit_exceeded) where an edge is longer
// than a value can say.
Coefficients describe(const Format& format, int channels, int width, int height);

// Scales (where the format has a size), converts, transforms and quantizes.
// box: the part of the picture to take; the whole of it for storage.
Coefficients encode(const Picture& picture, const Box& box, const Format& format, const Interrupt& interrupt);
Coefficients encode(const Picture& picture, const Format& format, const Interrupt& interrupt);

// The picture that the coefficients describe, dropped ones taken as 0, at the coded size; subsampled rows and columns are
// interpolated. Exact inverse of transform where nothing was dropped.
Picture rebuild(const Coefficients& coefficients, const Interrupt& interrupt);

}  // namespace imagecalc
