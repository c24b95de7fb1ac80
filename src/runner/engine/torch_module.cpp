#include "runner/engine/torch_module.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include <caffe2/serialize/read_adapter_interface.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

namespace imagecalc {

namespace {

// Reads bytes where they lie. LibTorch's own reader of this kind trusts the places that a file names.
class MemoryReader : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit MemoryReader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  std::size_t size() const override { return bytes_.size(); }
  std::size_t read(std::uint64_t position, void* buffer, std::size_t count, const char*) const override {
    if (position >= bytes_.size()) return 0;
    count = std::min<std::size_t>(count, bytes_.size() - position);
    std::memcpy(buffer, bytes_.data() + position, count);
    return count;
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

std::optional<ConvolutionShape::Pair> pair_of(const torch::jit::Value* value) {
  const auto constant = torch::jit::toIValue(value);
  if (!constant || !constant->isIntList()) return std::nullopt;
  const auto list = constant->toIntVector();
  if (list.empty() || list.size() > 2) return std::nullopt;
  return ConvolutionShape::Pair{list.front(), list.back()};
}

std::string_view trimmed(std::string_view text) {
  auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// Takes names like "RuntimeError: " off the beginning; false where there is none.
bool remove_error_names(std::string_view& line) {
  constexpr std::string_view kName = "Error: ";
  bool removed = false;
  for (std::size_t name; (name = line.find(kName)) != line.npos && line.find(' ') > name; removed = true) {
    line.remove_prefix(name + kName.size());
  }
  return removed;
}

// What the last line says that begins with an error's name, or nothing.
std::string_view last_error(std::string_view what) {
  std::string_view found;
  while (!what.empty()) {
    std::string_view line = what.substr(0, what.find('\n'));
    what.remove_prefix(std::min(line.size() + 1, what.size()));
    if (remove_error_names(line)) found = line;
  }
  return found;
}

}  // namespace

std::string torch_message(std::string_view what) {
  std::string_view text = last_error(what);
  if (text.empty()) text = trimmed(what);
  if (text.starts_with("[enforce fail")) {  // a place in LibTorch's source comes first
    if (auto end = text.find("] . "); end != text.npos) text.remove_prefix(end + 4);
  }
  text = text.substr(0, text.find('\n'));
  if (auto place = text.find(" (Exception raised from"); place != text.npos) text = text.substr(0, place);
  text = trimmed(text);
  return text.empty() ? "unknown error" : std::string(text);
}

void rethrow_as_bad_model(const char* context) {
  auto fail = [&](std::string_view what) {
    if (what.find("can't allocate memory") != what.npos) throw std::bad_alloc();
    throw Error(
        Fault::bad_model, std::string(context) + ": " + torch_message(what),
        "Check that the file is TorchScript, made with torch.jit.script or torch.jit.trace, and that it runs in PyTorch; or "
        "a whole ONNX file.");
  };
  try {
    throw;
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const c10::Error& error) {
    fail(error.what_without_backtrace());
  } catch (const std::exception& error) {
    fail(error.what());
  } catch (...) {
    fail("");
  }
  __builtin_unreachable();
}

void check_model_size(std::span<const std::uint8_t> bytes) {
  if (bytes.size() <= kMaxModelBytes) return;
  throw Error(Fault::limit_exceeded, "a model is at most 400 MB, and this one has " + std::to_string(bytes.size()) + " bytes",
              "Use a smaller model.");
}

torch::jit::Module load_module(std::span<const std::uint8_t> bytes) {
  check_model_size(bytes);
  return guard_torch("the model could not be loaded", [&] {
    torch::jit::Module module = torch::jit::load(std::make_shared<MemoryReader>(bytes), c10::Device(c10::kCPU));
    module.eval();
    return module;
  });
}

std::uint64_t trainable_parameters(const torch::jit::Module& module) {
  std::uint64_t count = 0;
  for (const at::Tensor& parameter : module.parameters()) {
    if (parameter.requires_grad()) count += parameter.numel();
  }
  return count;
}

bool is_convolution(const torch::jit::Node* node) {
  return node->kind() == c10::aten::conv2d || node->kind() == c10::aten::_convolution;
}

std::optional<ConvolutionShape> convolution_shape(const torch::jit::Node* node) {
  const bool general = node->kind() == c10::aten::_convolution;
  const auto stride = pair_of(node->input(kConvolutionStride)), padding = pair_of(node->input(kConvolutionPadding)),
             dilation = pair_of(node->input(kConvolutionDilation));
  const auto groups = torch::jit::toIValue(node->input(general ? 8 : 6));
  const auto transposed = general ? torch::jit::toIValue(node->input(6)) : c10::optional<c10::IValue>(false);
  if (!stride || !padding || !dilation || !groups || !transposed) return std::nullopt;
  return ConvolutionShape{*stride, *padding, *dilation, groups->toInt(), transposed->toBool()};
}

at::Tensor forward(torch::jit::Module& module, const at::Tensor& batch) {
  // The optimising executor spends its first calls on profiling and compiling, and one class of models it gets wrong.
  torch::jit::GraphOptimizerEnabledGuard plain(false);
  c10::IValue output = guard_torch("the model failed", [&] { return module.forward({batch}); });
  if (!output.isTensor()) {
    throw Error(Fault::bad_model, "the model does not return a tensor",
                "Wrap the model so that its forward returns one tensor of scores, [images, classes].");
  }
  at::Tensor scores = output.toTensor();
  if (scores.dim() != 2 || scores.size(0) != batch.size(0) || scores.size(1) < 1) {
    throw Error(Fault::bad_model, "the model does not return one row of scores an image",
                "Wrap the model so that its forward returns one tensor of scores, [images, classes].");
  }
  if (!scores.is_floating_point()) throw Error(Fault::bad_model, "the model's scores are not floating-point numbers");
  return scores;
}

}  // namespace imagecalc
