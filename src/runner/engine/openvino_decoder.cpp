#include "runner/engine/openvino_decoder.h"

#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <openvino/frontend/pytorch/decoder.hpp>
#include <openvino/frontend/pytorch/frontend.hpp>
#include <openvino/op/constant.hpp>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/inliner.h>

namespace imagecalc {

namespace {

namespace jit = torch::jit;
namespace type = ov::frontend::type;
using ov::frontend::pytorch::TorchDecoder;
using ov::op::v0::Constant;

ov::element::Type element_type(c10::ScalarType scalar) {
  switch (scalar) {
    case c10::kFloat: return ov::element::f32;
    case c10::kDouble: return ov::element::f64;
    case c10::kHalf: return ov::element::f16;
    case c10::kBFloat16: return ov::element::bf16;
    case c10::kLong: return ov::element::i64;
    case c10::kInt: return ov::element::i32;
    case c10::kShort: return ov::element::i16;
    case c10::kChar: return ov::element::i8;
    case c10::kByte: return ov::element::u8;
    case c10::kBool: return ov::element::boolean;
    default: return ov::element::dynamic;
  }
}

ov::Any scalar_type(ov::element::Type element) { return type::PyScalar(ov::Any(element)); }

ov::Any any_type(const c10::TypePtr& given) {
  switch (given->kind()) {
    case c10::TypeKind::TensorType: {
      auto scalar = given->castRaw<c10::TensorType>()->scalarType();
      return type::Tensor(ov::Any(scalar ? element_type(*scalar) : ov::element::Type(ov::element::dynamic)));
    }
    case c10::TypeKind::ListType: return type::List(any_type(given->castRaw<c10::ListType>()->getElementType()));
    case c10::TypeKind::IntType: return scalar_type(ov::element::i64);
    case c10::TypeKind::FloatType: return scalar_type(ov::element::f32);
    case c10::TypeKind::BoolType: return scalar_type(ov::element::boolean);
    case c10::TypeKind::DeviceObjType:
    case c10::TypeKind::StringType: return type::Str();
    case c10::TypeKind::NoneType: return type::PyNone();
    default: return ov::element::Type(ov::element::dynamic);
  }
}

// Reads the tensor's own memory, and keeps it alive.
ov::OutputVector tensor_constant(const at::Tensor& tensor) {
  if (!tensor.defined()) return {};
  auto held = std::make_shared<at::Tensor>(tensor.detach().contiguous());
  ov::Shape shape(held->sizes().begin(), held->sizes().end());
  return std::make_shared<Constant>(element_type(held->scalar_type()), shape, held->data_ptr(), held)->outputs();
}

template <typename T>
ov::OutputVector constant(ov::element::Type element, const ov::Shape& shape, const std::vector<T>& values) {
  return std::make_shared<Constant>(element, shape, values)->outputs();
}

template <typename T, typename List>
ov::OutputVector list_constant(ov::element::Type element, const List& list) {
  return constant(element, {list.size()}, std::vector<T>(list.begin(), list.end()));
}

ov::OutputVector constant_of(const c10::IValue& value) {
  if (value.isTensor()) return tensor_constant(value.toTensor());
  if (value.isInt()) return constant<std::int64_t>(ov::element::i64, {}, {value.toInt()});
  if (value.isDouble()) return constant<float>(ov::element::f32, {}, {static_cast<float>(value.toDouble())});
  if (value.isBool()) return constant<char>(ov::element::boolean, {}, {static_cast<char>(value.toBool())});
  if (value.isIntList()) return list_constant<std::int64_t>(ov::element::i64, value.toIntVector());
  if (value.isDoubleList()) return list_constant<float>(ov::element::f32, value.toDoubleVector());
  if (value.isBoolList()) return list_constant<char>(ov::element::boolean, value.toBoolList());
  return {};  // none, a string or a device: the frontend reads these as text
}

struct Graph {
  std::shared_ptr<jit::Graph> graph;
  std::unique_ptr<jit::AliasDb> aliases;
};

// One node of the graph, or one block: the body of the whole graph, of a loop or of a branch.
class Decoder final : public TorchDecoder {
 public:
  Decoder(std::shared_ptr<Graph> graph, jit::Block* block) : graph_(std::move(graph)), block_(block) {
    name(block->inputs(), block->outputs());
  }
  Decoder(std::shared_ptr<Graph> graph, jit::Node* node) : graph_(std::move(graph)), node_(node) {
    name(node->inputs(), node->outputs());
    op_ = node->kind().toQualString();
    if (auto* schema = node->maybeSchema()) schema_ = (std::ostringstream() << *schema).str();
    if (auto value = constant_value()) {
      if (value->isString()) text_ = value->toStringRef();
      if (value->isDevice()) text_ = value->toDevice().str();
    }
  }

  const std::vector<std::size_t>& inputs() const override { return inputs_.ids; }
  const std::string& get_input_debug_name(std::size_t i) const override { return inputs_.names.at(i); }
  const std::string& get_input_signature_name(std::size_t i) const override { return inputs_.names.at(i); }
  ov::PartialShape get_input_shape(std::size_t i) const override { return shape_of(inputs_.values.at(i)); }
  const std::vector<std::size_t>& get_input_strides(std::size_t) const override { return no_strides_; }
  ov::Any get_input_type(std::size_t i) const override { return any_type(inputs_.values.at(i)->type()); }
  bool input_is_none(std::size_t i) const override {
    if (i >= inputs_.values.size()) return true;
    const jit::Value* value = inputs_.values[i];
    return value->mustBeNone() || value->type()->kind() == c10::TypeKind::NoneType;
  }

  const std::vector<std::size_t>& outputs() const override { return outputs_.ids; }
  std::size_t output(std::size_t i) const override { return outputs_.ids.at(i); }
  std::size_t num_of_outputs() const override { return outputs_.ids.size(); }
  std::size_t output_list_size() const override { return 0; }
  const std::string& get_output_debug_name(std::size_t i) const override { return outputs_.names.at(i); }
  ov::PartialShape get_output_shape(std::size_t i) const override { return shape_of(outputs_.values.at(i)); }
  ov::Any get_output_type(std::size_t i) const override { return any_type(outputs_.values.at(i)->type()); }

  const std::string& get_op_type() const override { return op_; }
  const std::string& get_schema() const override { return schema_; }
  const std::string& as_string() const override { return text_; }
  ov::OutputVector as_constant() const override {
    auto value = constant_value();
    return value ? constant_of(*value) : ov::OutputVector{};
  }
  std::shared_ptr<ov::Node> mark_node(std::shared_ptr<ov::Node> made) const override {
    made->set_friendly_name(outputs_.names.empty() ? op_ : op_ + "/" + outputs_.names[0]);
    return made;
  }
  bool may_produce_alias(std::size_t in, std::size_t out) const override {
    if (!node_ || in >= inputs_.values.size() || out >= outputs_.values.size()) return false;
    return graph_->aliases->mayContainAlias(inputs_.values[in], outputs_.values[out]);
  }

  std::size_t get_subgraph_size() const override { return node_ ? node_->blocks().size() : 1; }
  void visit_subgraph(std::function<void(std::shared_ptr<TorchDecoder>)> visit) const override {
    if (!block_) return;
    for (jit::Node* node : block_->nodes()) visit(std::make_shared<Decoder>(graph_, node));
  }
  std::shared_ptr<TorchDecoder> get_subgraph_decoder(std::size_t i) const override {
    return std::make_shared<Decoder>(graph_, node_->blocks().at(i));
  }

  const std::string& decoder_type_name() const override { return kind_; }
  ov::frontend::pytorch::DecoderRTInfo get_rt_info() const override { return {}; }

  // What only other kinds of graphs have: modules not frozen, FX graphs, extensions.
  ov::OutputVector try_decode_get_attr() const override { throw std::runtime_error("the graph reads a module's attribute"); }
  ov::Any const_input(std::size_t) const override { throw std::logic_error("const_input is for FX graphs"); }
  std::size_t get_named_input(const std::string&) const override {
    throw std::logic_error("get_named_input is for FX graphs");
  }
  bool is_input_inlined(std::size_t) const override { return false; }
  std::shared_ptr<TorchDecoder> get_inlined_input_decoder(std::size_t) const override { return nullptr; }
  ov::Any get_attribute(const std::string&) const override { return {}; }
  bool has_converter() const override { return false; }
  ov::OutputVector convert(const ov::frontend::NodeContext*) const override {
    throw std::logic_error("convert is for extensions");
  }

 private:
  struct Values {
    std::vector<jit::Value*> values;
    std::vector<std::size_t> ids;
    std::vector<std::string> names;

    void add(at::ArrayRef<jit::Value*> given) {
      for (jit::Value* value : given) {
        values.push_back(value);
        ids.push_back(value->unique());
        names.push_back(value->debugName());
      }
    }
  };

  void name(at::ArrayRef<jit::Value*> inputs, at::ArrayRef<jit::Value*> outputs) {
    inputs_.add(inputs);
    outputs_.add(outputs);
  }

  std::optional<c10::IValue> constant_value() const {
    if (!node_ || node_->kind() != c10::prim::Constant) return std::nullopt;
    return jit::toIValue(node_->output());
  }

  static ov::PartialShape shape_of(const jit::Value* value) {
    if (auto tensor = value->type()->cast<c10::TensorType>()) {
      if (auto dimensions = tensor->dim()) return ov::PartialShape::dynamic(static_cast<std::int64_t>(*dimensions));
    }
    return ov::PartialShape::dynamic();
  }

  std::shared_ptr<Graph> graph_;
  jit::Node* node_ = nullptr;
  jit::Block* block_ = nullptr;
  Values inputs_, outputs_;
  std::string op_, schema_, text_, kind_ = "ts";
  std::vector<std::size_t> no_strides_;
};

// The forward method's graph, of tensors only: a frozen module's own place among the inputs goes.
std::shared_ptr<Graph> graph_of(const jit::Module& frozen) {
  auto result = std::make_shared<Graph>();
  result->graph = frozen.get_method("forward").graph()->copy();
  jit::Graph& graph = *result->graph;
  jit::Inline(graph);
  jit::EliminateDeadCode(result->graph);
  if (!graph.inputs().empty() && graph.inputs()[0]->type()->kind() == c10::TypeKind::ClassType) {
    if (graph.inputs()[0]->hasUses()) throw std::runtime_error("the module could not be frozen whole");
    graph.eraseInput(0);
  }
  if (graph.inputs().size() != 1) throw std::runtime_error("the module does not take one tensor");
  result->aliases = std::make_unique<jit::AliasDb>(result->graph);
  return result;
}

}  // namespace

std::shared_ptr<ov::Model> to_openvino(const jit::Module& frozen, const ov::PartialShape& input) {
  std::shared_ptr<Graph> graph = graph_of(frozen);
  ov::frontend::pytorch::FrontEnd frontend;
  std::shared_ptr<ov::frontend::IDecoder> decoder = std::make_shared<Decoder>(graph, graph->graph->block());
  auto model = frontend.load(decoder);
  auto place = model->get_inputs().at(0);
  model->set_element_type(place, ov::element::f32);
  model->set_partial_shape(place, input);
  return frontend.convert(model);
}

}  // namespace imagecalc
