// ONNX to OpenVINO.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include <openvino/openvino.hpp>

#include "codec/tensor.h"

namespace imagecalc {

// The model of an ONNX file (is_onnx), which reads pictures and gives scores. Throws Error(bad_model) where it does not.
std::shared_ptr<ov::Model> read_onnx(std::span<const std::uint8_t> bytes);

// A copy that reads so many images of that size; it shares the weights. Throws Error(bad_model) where the model does not take
// them, and what OpenVINO throws.
std::shared_ptr<ov::Model> reshaped(const ov::Model& model, std::size_t images, TensorSize size);

}  // namespace imagecalc
