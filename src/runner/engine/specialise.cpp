#include "runner/engine/specialise.h"

#include <algorithm>
#include <optional>
#include <set>
#include <stdexcept>
#include <vector>

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include "runner/engine/torch_module.h"

namespace imagecalc {

namespace {

namespace jit = torch::jit;
using Pair = ConvolutionShape::Pair;

// A convolution whose weights are constants.
struct Convolution : ConvolutionShape {
  at::Tensor weight, bias;  // bias may be undefined
};

std::optional<Convolution> read_convolution(const jit::Node* node) {
  const auto weight = jit::toIValue(node->input(kConvolutionWeight)), bias = jit::toIValue(node->input(kConvolutionBias));
  const auto shape = convolution_shape(node);
  if (!weight || !weight->isTensor() || !bias || !shape || shape->transposed) return std::nullopt;
  Convolution read{*shape, weight->toTensor(), bias->isTensor() ? bias->toTensor() : at::Tensor()};
  if (read.weight.dim() != 4) return std::nullopt;
  return read;
}

// One direction of a convolution over a map.
struct Axis {
  std::int64_t size, kernel, stride, padding, dilation;

  std::int64_t outputs() const {
    std::int64_t room = size + 2 * padding - dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
  }
  // Whether a tap meets the map at any place.
  bool meets(std::int64_t tap) const {
    for (std::int64_t out = 0; out < outputs(); ++out) {
      std::int64_t place = out * stride - padding + tap * dilation;
      if (place >= 0 && place < size) return true;
    }
    return false;
  }
};

struct Taps {
  std::int64_t first, count, padding;
};

// The fewest taps that compute the same. Padding is equal on both sides, so that a tap that meets nothing may have to stay.
Taps needed_taps(const Axis& axis) {
  std::int64_t low = 0, high = axis.kernel - 1;
  while (low < high && !axis.meets(low)) ++low;
  while (high > low && !axis.meets(high)) --high;
  for (std::int64_t count = high - low + 1; count < axis.kernel; ++count) {
    const std::int64_t last = std::min(low, axis.kernel - count);
    for (std::int64_t first = std::max<std::int64_t>(0, high - count + 1); first <= last; ++first) {
      Axis cropped{axis.size, count, axis.stride, axis.padding - first * axis.dilation, axis.dilation};
      if (cropped.padding >= 0 && cropped.outputs() == axis.outputs()) return {first, count, cropped.padding};
    }
  }
  return {0, axis.kernel, axis.padding};
}

// Crops the kernel; false where all of it is needed.
bool crop(Convolution& convolution, at::IntArrayRef input) {
  bool cropped = false;
  for (int i = 0; i < 2; ++i) {
    Axis axis{input[2 + i], convolution.weight.size(2 + i), convolution.stride[i], convolution.padding[i],
              convolution.dilation[i]};
    Taps taps = needed_taps(axis);
    if (taps.count == axis.kernel) continue;
    convolution.weight = convolution.weight.narrow(2 + i, taps.first, taps.count);
    convolution.padding[i] = taps.padding;
    if (Axis{axis.size, taps.count, 1, taps.padding, axis.dilation}.outputs() == 1) convolution.stride[i] = 1;
    cropped = true;
  }
  convolution.weight = convolution.weight.contiguous();
  return cropped;
}

// Inserts nodes before another one.
class Editor {
 public:
  explicit Editor(jit::Node* before) : graph_(*before->owningGraph()), point_(before) {}

  jit::Value* constant(c10::IValue value) { return graph_.insertConstant(std::move(value)); }
  jit::Value* tensor(const at::Tensor& value) { return constant(value.defined() ? c10::IValue(value) : c10::IValue()); }
  jit::Value* list(const Pair& pair) { return constant(std::vector<std::int64_t>{pair[0], pair[1]}); }
  jit::Value* call(c10::Symbol name, std::vector<jit::Value*> inputs) {
    jit::Node* node = graph_.insertNode(graph_.create(name, inputs));
    node->output()->setType(c10::TensorType::get());
    return node->output();
  }

 private:
  jit::Graph& graph_;
  jit::WithInsertPoint point_;
};

bool is_plain(const Convolution& convolution) {
  return convolution.stride == Pair{1, 1} && convolution.padding == Pair{0, 0};
}

// A kernel of one tap for each channel on a map of at most 4 pixels: a product with a number for each channel.
bool is_scaling(const Convolution& convolution, at::IntArrayRef input) {
  const at::Tensor& weight = convolution.weight;
  return is_plain(convolution) && convolution.groups == weight.size(0) && convolution.groups == input[1] &&
         weight.size(2) == 1 && weight.size(3) == 1 && input[2] * input[3] <= 4;
}

// A kernel as large as its map: a product with a matrix.
bool is_linear(const Convolution& convolution, at::IntArrayRef input) {
  const at::Tensor& weight = convolution.weight;
  return convolution.groups == 1 && convolution.padding == Pair{0, 0} && convolution.dilation == Pair{1, 1} &&
         weight.size(2) == input[2] && weight.size(3) == input[3];
}

jit::Value* insert_scaling(Editor& edit, jit::Value* map, const Convolution& convolution) {
  jit::Value* weight = edit.tensor(convolution.weight.view({1, -1, 1, 1}));
  if (!convolution.bias.defined()) return edit.call(c10::aten::mul, {map, weight});
  jit::Value* bias = edit.tensor(convolution.bias.view({1, -1, 1, 1}));
  return edit.call(c10::aten::addcmul, {bias, map, weight, edit.constant(1)});
}

jit::Value* insert_linear(Editor& edit, jit::Value* map, const Convolution& convolution) {
  std::int64_t outputs = convolution.weight.size(0);
  jit::Value* rows = edit.call(c10::aten::flatten, {map, edit.constant(1), edit.constant(-1)});
  jit::Value* weight = edit.tensor(convolution.weight.reshape({outputs, -1}));
  jit::Value* sums = edit.call(c10::aten::linear, {rows, weight, edit.tensor(convolution.bias)});
  return edit.call(c10::aten::reshape, {sums, edit.constant(std::vector<std::int64_t>{-1, outputs, 1, 1})});
}

void specialise_node(jit::Node* node, at::IntArrayRef input) {
  auto convolution = read_convolution(node);
  if (!convolution || input.size() != 4) return;
  bool cropped = crop(*convolution, input);
  Editor edit(node);
  jit::Value* product = nullptr;
  if (is_scaling(*convolution, input)) {
    product = insert_scaling(edit, node->input(0), *convolution);
  } else if (is_linear(*convolution, input)) {
    product = insert_linear(edit, node->input(0), *convolution);
  } else if (cropped) {
    node->replaceInput(kConvolutionWeight, edit.tensor(convolution->weight));
    node->replaceInput(kConvolutionStride, edit.list(convolution->stride));
    node->replaceInput(kConvolutionPadding, edit.list(convolution->padding));
  }
  if (product) node->output()->replaceAllUsesWith(product);
}

// Whether a value follows from the shapes of tensors alone. seen: values that have been looked at.
bool follows_from_shapes(const jit::Value* value, std::set<const jit::Value*>& seen) {
  if (!seen.insert(value).second) return true;
  const jit::Node* node = value->node();
  if (node->kind() == c10::prim::Constant || node->kind() == c10::aten::size || node->kind() == c10::aten::dim) return true;
  if (node->kind() == c10::prim::Param || value->type()->isSubtypeOf(*c10::TensorType::get())) return false;
  return node->blocks().empty() && std::all_of(node->inputs().begin(), node->inputs().end(),
                                              [&](const jit::Value* input) { return follows_from_shapes(input, seen); });
}

// A branch that depends on what is in a picture may lead to maps of other sizes than those seen.
void check_branches(jit::Block* block) {
  for (const jit::Node* node : block->nodes()) {
    std::set<const jit::Value*> seen;
    if (node->kind() == c10::prim::If && follows_from_shapes(node->input(0), seen)) continue;
    if (!node->blocks().empty()) throw std::runtime_error("the model has branches or loops that depend on its input");
  }
}

std::vector<jit::Node*> convolutions(jit::Graph& graph) {
  std::vector<jit::Node*> found;
  std::copy_if(graph.nodes().begin(), graph.nodes().end(), std::back_inserter(found), is_convolution);
  return found;
}

// What each convolution reads, by a run of a copy of the graph that returns it.
std::vector<std::vector<std::int64_t>> input_sizes(const jit::Module& frozen, TensorSize size) {
  auto graph = frozen.get_method("forward").graph()->copy();
  auto found = convolutions(*graph);
  while (graph->outputs().size() > 0) graph->eraseOutput(0);
  for (jit::Node* node : found) graph->registerOutput(node->input(0));
  jit::EliminateDeadCode(graph);

  c10::InferenceMode no_gradients;
  torch::jit::GraphOptimizerEnabledGuard plain(false);
  jit::Stack stack{frozen._ivalue(), at::zeros({2, 3, size.height, size.width})};
  jit::GraphExecutor(graph, "input_sizes").run(stack);
  std::vector<std::vector<std::int64_t>> sizes;
  for (const c10::IValue& value : stack) sizes.push_back(value.toTensor().sizes().vec());
  return sizes;
}

}  // namespace

void specialise(jit::Module& frozen, TensorSize size) {
  auto graph = frozen.get_method("forward").graph();
  check_branches(graph->block());
  auto sizes = input_sizes(frozen, size);
  auto nodes = convolutions(*graph);
  for (std::size_t i = 0; i < nodes.size(); ++i) specialise_node(nodes[i], sizes.at(i));
  jit::EliminateDeadCode(graph);
}

void use_channels_last(jit::Module& frozen) {
  for (jit::Node* node : convolutions(*frozen.get_method("forward").graph())) {
    auto convolution = read_convolution(node);
    if (!convolution) continue;
    Editor edit(node);
    node->replaceInput(kConvolutionWeight, edit.tensor(convolution->weight.contiguous(at::MemoryFormat::ChannelsLast)));
  }
}

}  // namespace imagecalc
