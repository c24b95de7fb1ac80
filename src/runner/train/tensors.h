// From a kept picture to the tensor that a model trains on.
#pragma once

#include "codec/tensor.h"
#include "runner/train/data_set.h"
#include "runner/train/random.h"

namespace imagecalc {

// What augmentation does to a picture: a part of it, perhaps mirrored.
struct View {
  Box box;
  bool mirrored = false;
};

View whole_view(const Picture& picture);
// A random resized crop and a coin's flip.
View random_view(const Picture& picture, Random& random);

// The tensor of a view, as if the view had been stored in the format and read back.
void make_tensor(const Picture& picture, const View& view, const ModelInput& input, const Normalisation& normalisation,
                 float* out, const Interrupt& interrupt);

// The tensor of the whole picture: of its file as a cast would store it, where the sample has one.
void make_whole_tensor(const Sample& sample, const ModelInput& input, const Normalisation& normalisation, const Limits& limits,
                       float* out, const Interrupt& interrupt);

// Mean and deviation a channel over the pictures, unaugmented. A deviation is never 0.
Normalisation measure_normalisation(const std::vector<const Sample*>& pictures, const ModelInput& input,
                                    std::uint32_t threads, const Interrupt& interrupt);

}  // namespace imagecalc
