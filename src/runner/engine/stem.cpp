#include "runner/engine/stem.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/inliner.h>

#include "runner/engine/torch_module.h"

namespace imagecalc {

namespace {

namespace jit = torch::jit;

[[noreturn]] void refuse(const std::string& why) {
  throw Error(Fault::bad_model, "the model's first convolution cannot be replaced by a stem: " + why);
}

// The convolutions of a block and those within it, in their order.
void collect_convolutions(jit::Block* block, std::vector<jit::Node*>& found) {
  for (jit::Node* node : block->nodes()) {
    if (is_convolution(node)) found.push_back(node);
    for (jit::Block* inner : node->blocks()) collect_convolutions(inner, found);
  }
}

// A parameter, and the module whose attribute it is.
struct Parameter {
  jit::Module owner;
  std::string name;

  at::Tensor value() const { return owner.attr(name).toTensor(); }
};

// What a value of the inlined graph reads. Nothing where it is computed.
std::optional<Parameter> parameter_of(const jit::Value* value, const jit::Module& module) {
  std::vector<std::string> path;
  for (; value->node()->kind() == c10::prim::GetAttr; value = value->node()->input()) {
    path.push_back(value->node()->s(c10::attr::name));
  }
  if (path.empty() || value->node()->kind() != c10::prim::Param) return std::nullopt;
  jit::Module owner = module;
  for (std::size_t i = path.size(); i-- > 1;) owner = owner.attr(path[i]).toModule();
  Parameter parameter{owner, path.front()};
  if (!owner.attr(parameter.name).isTensor()) return std::nullopt;
  return parameter;
}

struct FirstConvolution {
  Parameter weight;
  std::optional<Parameter> bias;
  ConvolutionShape shape;
};

// Other layers, and other calls of this one, would get its weights, too.
void check_sole_use(const at::Tensor& weight, const std::vector<jit::Node*>& convolutions, const jit::Module& module) {
  const auto is_same = [&](const at::Tensor& other) { return other.data_ptr() == weight.data_ptr(); };
  const auto calls = std::count_if(convolutions.begin(), convolutions.end(), [&](const jit::Node* node) {
    const auto read = parameter_of(node->input(kConvolutionWeight), module);
    return read && is_same(read->value());
  });
  int owners = 0;
  for (const at::Tensor& parameter : module.parameters()) owners += is_same(parameter);
  if (calls != 1 || owners != 1) refuse("its weights are used twice");
}

FirstConvolution find_first(const jit::Module& module) {
  auto graph = module.get_method("forward").graph()->copy();
  jit::Inline(*graph);
  jit::ConstantPropagation(graph);  // of a stride, which may be made of two numbers
  std::vector<jit::Node*> all;
  collect_convolutions(graph->block(), all);
  if (all.empty()) refuse("it has none");
  const jit::Node& first = *all.front();
  const auto weight = parameter_of(first.input(kConvolutionWeight), module);
  if (!weight) refuse("its weights are computed, or frozen into the code");
  const auto shape = convolution_shape(&first);
  if (!shape) refuse("its stride is computed, or its padding a word");
  if (shape->transposed || weight->value().dim() != 4 || weight->value().size(1) != 3) refuse("it does not read 3 channels");
  if (graph->inputs().size() != 2 || first.input(0) != graph->inputs()[1]) refuse("it does not read the model's input as it is");
  check_sole_use(weight->value(), all, module);
  return {*weight, parameter_of(first.input(kConvolutionBias), module), *shape};
}

// Of a stem, its rows and columns.
std::optional<std::int64_t> stem_size(const FirstConvolution& first) {
  const std::int64_t size = first.weight.value().size(2);
  const bool is_stem = first.weight.value().size(3) == size && first.shape.stride == ConvolutionShape::Pair{size, size} &&
                       first.shape.padding == ConvolutionShape::Pair{0, 0} && first.shape.dilation == ConvolutionShape::Pair{1, 1};
  return is_stem ? std::optional(size) : std::nullopt;
}

// The convolution in the code of the module that owns its weights, which must be that module's alone.
jit::Node* node_of(const jit::Module& owner, const jit::Module& whole) {
  int of_its_type = 0;
  for (const jit::Module& module : whole.modules()) of_its_type += module.type() == owner.type();
  if (of_its_type != 1) refuse("another layer has the same code");
  std::vector<jit::Node*> found;
  for (jit::Function* method : owner.type()->methods()) collect_convolutions(jit::toGraphFunction(*method).graph()->block(), found);
  if (found.size() != 1) refuse("it is not in a layer of its own");
  return found.front();
}

// Looking at inlined code leaves copies of it, as it was, in every method.
void forget_inlined_code(const jit::Module& whole) {
  for (const jit::Module& module : whole.modules()) {
    for (jit::Function* method : module.type()->methods()) jit::toGraphFunction(*method).clear_optimized_graphs();
  }
}

void set_list(jit::Node* node, std::size_t place, std::int64_t value) {
  jit::WithInsertPoint before(node);
  node->replaceInput(place, node->owningGraph()->insertConstant(std::vector<std::int64_t>{value, value}));
}

// Uniform, as torch.nn.Conv2d is reset. like: what it takes the place of.
at::Tensor drawn(at::IntArrayRef sizes, double fan_in, const at::Tensor& like) {
  const double bound = 1 / std::sqrt(fan_in);
  return at::empty(sizes, like.options()).uniform_(-bound, bound);
}

void replace(const Parameter& parameter, at::Tensor value) {
  value.set_requires_grad(parameter.value().requires_grad());
  jit::Module owner = parameter.owner;
  owner.setattr(parameter.name, std::move(value));
}

void replace_first(jit::Module& module, std::int64_t kernel) {
  const FirstConvolution first = find_first(module);
  const auto size = stem_size(first);
  if (size == kernel) return;
  jit::Node* node = node_of(first.weight.owner, module);
  set_list(node, kConvolutionStride, kernel);
  set_list(node, kConvolutionPadding, 0);
  set_list(node, kConvolutionDilation, 1);
  forget_inlined_code(module);

  const at::Tensor before = first.weight.value().detach();
  const double fan_in = 3.0 * static_cast<double>(kernel * kernel);
  at::Tensor weight = drawn({before.size(0), 3, kernel, kernel}, fan_in, before);
  if (size) {
    const std::int64_t both = std::min(*size, kernel);
    const auto corner = [&](const at::Tensor& taps) { return taps.narrow(2, 0, both).narrow(3, 0, both); };
    corner(weight).copy_(corner(before));
  }
  replace(first.weight, weight);
  if (first.bias && !size) replace(*first.bias, drawn(first.bias->value().sizes(), fan_in, before));
}

}  // namespace

void set_stem(jit::Module& module, int kernel) {
  guard_torch("the model's first convolution could not be replaced", [&] { replace_first(module, kernel); });
}

}  // namespace imagecalc
