// NVIDIA's JPEG decoder, as a peer.
#pragma once

#include <optional>
#include <span>

#include "protocol/wire.h"

namespace imagecalc {

// Microseconds a picture that nvJPEG takes, on the first GPU, by its kernels or by the decoder that some GPUs have, whichever is
// faster, from the bytes of files to RGB pixels in the device's memory; scaling them is not part of it. It decodes them all, again
// and again, for so long. Nothing where this was built without nvJPEG; throws std::runtime_error where it does not work.
std::optional<double> nvjpeg_us(std::span<const Blob> files, double seconds);

}  // namespace imagecalc
