#include <stdexcept>

#include "runner/engine/openvino_plan.h"

namespace imagecalc {

const bool kHasOpenVino = false;

Recipe openvino_recipe(std::shared_ptr<FreezableModule>, int) {
  return {EngineChoice::openvino, "openvino", [](TensorSize, std::size_t) -> std::shared_ptr<Plan> {
            throw std::runtime_error("imagecalc-runner was built without OpenVINO");
          }};
}

}  // namespace imagecalc
