// Another first layer for a network that is to read coefficients: k x k taps at a stride of k, so that each place of its
// output is computed from the kept coefficients of one block, and the rest of the network sees a map of blocks: a learned
// embedding, as of the patches of Dosovitskiy et al., An image is worth 16x16 words, 2021.
#pragma once

#include <torch/script.h>

namespace imagecalc {

// Replaces the first convolution of a module, which must read its input as it is, by one of kernel x kernel taps, with that
// stride and no padding, from 3 channels to as many as it had. The module is not frozen, and has not run yet. The new numbers
// are drawn from LibTorch's generator as PyTorch draws those of a new layer. A stem of another size keeps the taps that both
// have, as they are for the same frequencies; one of this size is left alone. kernel: at least 1.
// Error(bad_model) where there is no convolution that can be replaced; then the module is as it was.
void set_stem(torch::jit::Module& module, int kernel);

}  // namespace imagecalc
