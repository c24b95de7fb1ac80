#include "runner/train/stem.h"

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/inliner.h>

#include "runner/engine/torch_module.h"

namespace imagecalc {

namespace {

namespace jit = torch::jit;

// Places of a convolution's inputs.
constexpr std::size_t kWeight = 1, kBias = 2, kStride = 3, kPadding = 4, kDilation = 5;

[[noreturn]] void refuse(const std::string& why) {
  throw Error(Fault::bad_model, "the model's first convolution cannot be replaced by a stem: " + why,
              "Use stem => 'none', or a model whose first layer is a torch.nn.Conv2d over 3 channels.");
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
  return Parameter{owner, path.front()};
}

struct FirstConvolution {
  Parameter weight;
  std::optional<Parameter> bias;
  std::optional<std::vector<std::int64_t>> stride;
};

FirstConvolution find_first(const jit::Module& module) {
  auto graph = module.get_method("forward").graph()->copy();
  jit::Inline(*graph);
  jit::ConstantPropagation(graph);  // of a stride, which may be made of two numbers
  std::vector<jit::Node*> all;
  collect_convolutions(graph->block(), all);
  if (all.empty()) refuse("it has none");
  const jit::Node& first = *all.front();
  const auto weight = parameter_of(first.input(kWeight), module);
  if (!weight) refuse("its weights are computed, or frozen into the code");
  if (weight->value().dim() != 4 || weight->value().size(1) != 3) refuse("it does not read 3 channels");
  const auto stride = jit::toIValue(first.input(kStride));
  const bool is_list = stride && stride->isIntList();
  return {*weight, parameter_of(first.input(kBias), module), is_list ? std::optional(stride->toIntVector()) : std::nullopt};
}

bool is_stem(const FirstConvolution& first, std::int64_t kernel) {
  const at::Tensor weight = first.weight.value();
  return weight.size(2) == kernel && weight.size(3) == kernel && first.stride == std::vector<std::int64_t>{kernel, kernel};
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

// Uniform, as torch.nn.Conv2d is reset.
at::Tensor drawn(at::IntArrayRef sizes, double fan_in, bool trained) {
  const double bound = 1 / std::sqrt(fan_in);
  return at::empty(sizes).uniform_(-bound, bound).set_requires_grad(trained);
}

}  // namespace

void set_stem(jit::Module& module, int kernel) {
  FirstConvolution first = find_first(module);
  if (is_stem(first, kernel)) return;
  jit::Node* node = node_of(first.weight.owner, module);
  set_list(node, kStride, kernel);
  set_list(node, kPadding, 0);
  set_list(node, kDilation, 1);
  forget_inlined_code(module);

  const at::Tensor before = first.weight.value();
  const double fan_in = 3.0 * kernel * kernel;
  first.weight.owner.setattr(first.weight.name, drawn({before.size(0), 3, kernel, kernel}, fan_in, before.requires_grad()));
  if (!first.bias || !first.bias->owner.attr(first.bias->name).isTensor()) return;
  first.bias->owner.setattr(first.bias->name, drawn(first.bias->value().sizes(), fan_in, first.bias->value().requires_grad()));
}

}  // namespace imagecalc
