// OpenVINO's way to run a module, where it was built in.
#pragma once

#include <memory>
#include <vector>

#include "runner/engine/torch_plans.h"

namespace imagecalc {

extern const bool kHasOpenVino;  // whether it was built in

// threads: how many all calls together may use. Loads what OpenVINO needs, once for the process.
Recipe openvino_recipe(std::shared_ptr<FreezableModule> module, int threads);

}  // namespace imagecalc
