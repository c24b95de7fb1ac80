// Models for the tests of the runner.
#pragma once

#include <string>

#include "protocol/messages.h"

namespace imagecalc::test {

// The small network of scripts/export_model.py for 4 classes: "script", "trace" or "frozen".
Blob exported_model(const std::string& form);

// The same as ONNX; or another network of those that CMakeLists.txt exports.
Blob exported_onnx(const std::string& net = "small-cnn");

// A module with one 3x4 parameter `weight` and the methods that the TorchScript source defines.
Blob scripted_model(const std::string& source);

// One score a channel: fast, and any size is taken.
inline Blob tiny_model() {
  return scripted_model("def forward(self, x):\n    return torch.matmul(x.mean([2, 3]), self.weight)\n");
}

ModelHash hash_of(const Blob& bytes);

}  // namespace imagecalc::test
