// OpenVINO's ways to run a model, where it was built in.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runner/engine/torch_plans.h"

namespace imagecalc {

extern const bool kHasOpenVino;  // whether it was built in

// The module as it is, and specialised, which is faster where most of the time goes into products. threads: how many all calls
// together may use. Loads what OpenVINO needs, once for the process.
std::vector<Recipe> openvino_recipes(std::shared_ptr<FreezableModule> module, int threads);

// Whether models can be run in bfloat16: where OpenVINO has that, and this machine's CPU.
bool has_bf16();

// The first of these, with bfloat16 wherever OpenVINO expects it to be faster.
Recipe bf16_recipe(std::shared_ptr<FreezableModule> module, int threads);

// The one way to run an ONNX model (is_onnx). Throws Error(bad_model) where it does not turn pictures into scores, or where
// OpenVINO was not built in.
Recipe onnx_recipe(std::span<const std::uint8_t> bytes, int threads);

}  // namespace imagecalc
