// Starting a design's background worker.
#pragma once

#include <cstdint>

namespace imagecalc {

// Registers the worker of a design. It waits for the current transaction and leaves if that aborts.
// Error(unavailable) where no slot is free.
void start_design_worker(std::int64_t design);

}  // namespace imagecalc
