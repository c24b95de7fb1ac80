// What goes wrong while LibTorch works for a device, in the terms of this project.
#pragma once

#include "runner/device/backend.h"

namespace imagecalc {

// The exception being handled, as an Error: out_of_memory where the device's memory is too small, no_device where the device
// itself has failed, which is kept in backend.has_failed; else as rethrow_as_bad_model().
[[noreturn]] void rethrow_for(Backend& backend);

template <typename Function>
auto guard_device(Backend& backend, Function&& function) {
  try {
    return function();
  } catch (...) {
    rethrow_for(backend);
  }
}

}  // namespace imagecalc
