#include <stdexcept>
#include <utility>

#include "runner/engine/openvino_plan.h"

namespace imagecalc {

const bool kHasOpenVino = false;

std::vector<Recipe> openvino_recipes(std::shared_ptr<FreezableModule>, int) {
  return {{EngineChoice::openvino, "openvino", [](TensorSize, std::size_t) -> std::shared_ptr<Plan> {
             throw std::runtime_error("imagecalc-runner was built without OpenVINO");
           }}};
}

bool has_bf16() { return false; }

Recipe bf16_recipe(std::shared_ptr<FreezableModule> module, int threads) { return openvino_recipes(std::move(module), threads).front(); }

Recipe onnx_recipe(std::span<const std::uint8_t>, int) {
  throw Error(Fault::bad_model, "ONNX models need OpenVINO, which imagecalc-runner was built without",
              "Run scripts/openvino.sh, then build and install again; or import the model as TorchScript.");
}

}  // namespace imagecalc
