// ONNX files, as far as one must look into them before OpenVINO does.
#pragma once

#include <cstdint>
#include <span>

namespace imagecalc {

// Whether the bytes are an ONNX model, by their structure alone. Throws Error(bad_model) where the model keeps tensors in
// other files: it would read whatever file of the server it names.
bool is_onnx(std::span<const std::uint8_t> bytes);

}  // namespace imagecalc
