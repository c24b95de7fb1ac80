// The storage model: what a value takes in every format of the design space, measured on a sample.
#pragma once

#include <functional>

#include "runner/train/data_set.h"

namespace imagecalc {

// Every format is measured on request.sample of the pictures, some formats on up to 400. How much these are larger or smaller
// there corrects all of their quantizer: by a ratio estimator (Cochran, Sampling Techniques, 1977, chapter 6), interpolated in
// the logarithm of the bytes. pictures: all size x size, at least one. progress is told how many are done, never by two threads
// at once.
StorageReply measure_storage(const std::vector<Sample>& pictures, int size, const MeasureStorage& request, std::uint32_t threads,
                             const std::function<void(const Progress&)>& progress, const Interrupt& interrupt);

}  // namespace imagecalc
