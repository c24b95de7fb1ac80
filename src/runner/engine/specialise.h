// Frozen modules made for one tensor size: the same function for less work.
#pragma once

#include <torch/script.h>

#include "codec/tensor.h"

namespace imagecalc {

// Edits the graph of a frozen module, which then reads tensors of that size only, in batches of any size. On maps of a few
// pixels most taps of a kernel never meet anything but padding; these go, and where it is then faster a convolution becomes
// a product. Throws std::runtime_error where a branch depends on what is in the tensors, and what LibTorch throws.
void specialise(torch::jit::Module& frozen, TensorSize size);

// Lays out the convolutions' weights for tensors whose channels come last.
void use_channels_last(torch::jit::Module& frozen);

}  // namespace imagecalc
