// LibTorch's ways to run a module on a device.
#pragma once

#include "runner/device/recordings.h"
#include "runner/engine/torch_plans.h"

namespace imagecalc {

// The plain one first. Their plans take SentTensors of the same backend.
std::vector<Recipe> device_recipes(std::shared_ptr<Backend> backend, std::shared_ptr<Recordings> recordings,
                                   std::shared_ptr<FreezableModule> module);

}  // namespace imagecalc
