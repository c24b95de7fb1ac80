// One training: a model, a data set, a format; the trained weights and how good they are.
#pragma once

#include <functional>

#include "runner/device/device.h"
#include "runner/train/data_set.h"

namespace imagecalc {

// Throws Error(bad_model) for a model that cannot be trained at all.
void check_trainable(const TrainSetup& setup);

// A model whose first convolution is a stem, not trained yet. Error(bad_model) where it cannot be replaced.
Blob make_stem(const Blob& model, std::uint32_t kernel);

// Where a training runs, and its share of the CPU.
struct TrainingPlace {
  Device* device = nullptr;   // none: the CPU
  std::uint32_t threads = 1;  // to prepare pictures, and without a device for the model, too
  std::uint32_t at_once = 1;  // trainings that share the memory for pictures
};

// Stochastic gradient descent (momentum 0.9, weight decay 4e-5) on cross entropy. The same request on the same machine with
// as many threads gives the same weights; on a device nearly the same, whose sums have no order. Throws Error(bad_model) where the
// model does not fit or its training diverges, Error(out_of_memory) and Error(no_device) where the device is too small or fails.
// Several may run at once, on a device each.
TrainReply train_model(const TrainSetup& setup, const DataSet& data, const Train& request, const TrainingPlace& place,
                       const std::function<void(const Progress&)>& progress, const Interrupt& interrupt);

}  // namespace imagecalc
