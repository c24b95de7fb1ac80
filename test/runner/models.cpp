#include "models.h"

#include <openssl/sha.h>
#include <torch/script.h>
#include <unistd.h>

#include <iostream>
#include <sstream>

#include <gtest/gtest.h>

#include "pictures.h"

namespace imagecalc::test {

namespace {

Blob model_file(const std::string& name) {
  Blob bytes = read_file(std::string(IMAGECALC_TEST_MODELS) + "/" + name);
  if (bytes.empty()) throw std::runtime_error("no exported model " + name);
  return bytes;
}

}  // namespace

Blob exported_model(const std::string& form) { return model_file(form + ".pt"); }

Blob exported_onnx(const std::string& net) { return model_file(net + ".onnx"); }

Blob scripted_model(const std::string& source) {
  torch::jit::Module module("test_module");
  at::manual_seed(5);
  module.register_parameter("weight", at::randn({3, 4}).set_requires_grad(true), false);
  module.define(source);
  std::ostringstream stream;
  module.save(stream);
  std::string bytes = stream.str();
  return {bytes.begin(), bytes.end()};
}

ModelHash hash_of(const Blob& bytes) {
  ModelHash hash;
  SHA256(bytes.data(), bytes.size(), hash.data());
  return hash;
}

}  // namespace imagecalc::test

// LibTorch's static destructors crash, so the process leaves without them.
int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  int status = RUN_ALL_TESTS();
  std::cout.flush();
  ::_exit(status);
}
