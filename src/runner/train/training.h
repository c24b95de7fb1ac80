// One training: a model, a data set, a format; the trained weights and how good they are.
#pragma once

#include <functional>

#include "runner/train/data_set.h"

namespace imagecalc {

// Throws Error(bad_model) for a model that cannot be trained at all.
void check_trainable(const TrainSetup& setup);

// A model whose first convolution is a stem, not trained yet. Error(bad_model) where it cannot be replaced.
Blob make_stem(const Blob& model, std::uint32_t kernel);

// Stochastic gradient descent (momentum 0.9, weight decay 4e-5) on cross entropy. The same request on the same machine with
// as many threads gives the same weights. Throws Error(bad_model) where the model does not fit or its training diverges.
TrainReply train_model(const TrainSetup& setup, const DataSet& data, const Train& request,
                       const std::function<void(const Progress&)>& progress, const Interrupt& interrupt);

}  // namespace imagecalc
