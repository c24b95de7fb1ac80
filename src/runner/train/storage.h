// The storage model: what a value takes in every format of the design space, measured on a sample.
#pragma once

#include <functional>

#include "runner/train/data_set.h"

namespace imagecalc {

// pictures: all size x size. progress is told how many pictures are done, never by two threads at once.
StorageReply measure_storage(const std::vector<const Sample*>& pictures, int size, const MeasureStorage& request,
                             std::uint32_t threads, const std::function<void(std::uint32_t)>& progress,
                             const Interrupt& interrupt);

}  // namespace imagecalc
