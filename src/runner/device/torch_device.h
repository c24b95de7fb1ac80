// LibTorch on a device. The same code for CUDA and for the CPU that stands in for it in tests.
#pragma once

#include "runner/device/backend.h"
#include "runner/device/device.h"

namespace imagecalc {

std::unique_ptr<Device> make_torch_device(std::shared_ptr<Backend> backend);

}  // namespace imagecalc
