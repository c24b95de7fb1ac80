// TorchScript modules, and the errors that LibTorch throws, in the terms of this project. Shared by inference and training.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <torch/script.h>

#include "protocol/messages.h"

namespace imagecalc {

// The line of a LibTorch error that tells a user what was wrong: without stack traces and places in source files.
std::string torch_message(std::string_view what);

// The exception being handled, as an Error: what LibTorch threw is Error(bad_model, "context: its message").
[[noreturn]] void rethrow_as_bad_model(const char* context);

// Runs code that calls LibTorch.
template <typename Function>
auto guard_torch(const char* context, Function&& function) {
  try {
    return function();
  } catch (...) {
    rethrow_as_bad_model(context);
  }
}

// Throws Error(limit_exceeded) where a model's file is larger than kMaxModelBytes.
void check_model_size(std::span<const std::uint8_t> bytes);

// In evaluation mode.
torch::jit::Module load_module(std::span<const std::uint8_t> bytes);

// How many numbers can be trained.
std::uint64_t trainable_parameters(const torch::jit::Module& module);

// Whether a node of a module's code is a convolution over maps.
bool is_convolution(const torch::jit::Node* node);

// Places of such a node's inputs.
constexpr std::size_t kConvolutionWeight = 1, kConvolutionBias = 2, kConvolutionStride = 3, kConvolutionPadding = 4,
                      kConvolutionDilation = 5;

// What such a node does beside its weights: rows, columns.
struct ConvolutionShape {
  using Pair = std::array<std::int64_t, 2>;
  Pair stride, padding, dilation;
  std::int64_t groups;
  bool transposed;
};

// Nothing where that is not constant, or a word, as padding may be.
std::optional<ConvolutionShape> convolution_shape(const torch::jit::Node* node);

// The scores of a batch, [images][outputs]. Throws Error(bad_model) where the model fails or gives something else.
at::Tensor forward(torch::jit::Module& module, const at::Tensor& batch);

}  // namespace imagecalc
