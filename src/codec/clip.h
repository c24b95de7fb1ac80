// What decoders cut off at 0 and 255, cut off in a JPEG file's coefficients.
//
// A sharp edge before a bright sky, coarsely quantized, overshoots: its samples, or their red, green or blue, lie outside
// 0..255, and a decoder cuts them. That is not linear, so it cannot be done to coefficients. The few blocks that it matters
// to are taken to samples and back.
#pragma once

#include <span>

#include "codec/jpeg.h"

namespace imagecalc {

// Gray, or Y, Cb and Cr; done once, in place: see JpegComponent::in_sixteenths. A block is looked at where half of the sum
// of its coefficients' magnitudes reaches outside: their signs hardly ever agree enough to make more of it. In the samples
// of photographs, what is missed is 0.03 grey levels rms, where what was cut is 0.3 to 0.6 and up to 2.8.
void clip(std::span<JpegComponent> components, const Interrupt& interrupt);

}  // namespace imagecalc
