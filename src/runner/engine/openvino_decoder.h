// TorchScript to OpenVINO, without files and without Python.
#pragma once

#include <memory>

#include <openvino/openvino.hpp>
#include <torch/script.h>

namespace imagecalc {

// The model of a frozen module for inputs of that shape. Shares the module's constants. Throws what OpenVINO's frontend
// throws at what it does not know.
std::shared_ptr<ov::Model> to_openvino(const torch::jit::Module& frozen, const ov::PartialShape& input);

}  // namespace imagecalc
