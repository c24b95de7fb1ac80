// ONNX models: what is taken for one, what is refused, and why. plans_test.cpp compares their scores.
#include "runner/engine/onnx_file.h"

#include <gtest/gtest.h>

#include "models.h"
#include "runner/engine/engine.h"
#include "runner/engine/openvino_plan.h"

namespace imagecalc {
namespace {

// ---- protocol buffers, as much of them as ONNX files are made of

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

std::string field(std::uint64_t number, std::uint64_t value) { return varint(number << 3) + varint(value); }

std::string field(std::uint64_t number, const std::string& content) {
  return varint(number << 3 | 2) + varint(content.size()) + content;
}

enum { kFloat = 1, kDouble = 11 };  // element types

std::string value_info(const std::string& name, int type, const std::vector<int>& dimensions) {
  std::string shape;
  for (int dimension : dimensions)  // -1: of any length
    shape += field(1, dimension < 0 ? field(2, std::string(shape.size() + 1, 'd')) : field(1, std::uint64_t(dimension)));
  return field(1, name) + field(2, field(1, field(1, std::uint64_t(type)) + field(2, shape)));
}

std::string node(const std::string& operation, const std::vector<std::string>& inputs, const std::string& output,
                 const std::string& attributes = "") {
  std::string bytes;
  for (const std::string& input : inputs) bytes += field(1, input);
  return bytes + field(2, output) + field(4, operation) + attributes;
}

// A 3x2 tensor of ones.
std::string tensor(const std::string& name) {
  std::string ones;
  for (int i = 0; i < 6; ++i) ones += std::string("\0\0\x80\x3f", 4);
  return field(1, 3) + field(1, 2) + field(2, kFloat) + field(8, name) + field(9, ones);
}

std::string external_tensor(const std::string& name) {
  return field(1, 3) + field(1, 2) + field(2, kFloat) + field(8, name) +
         field(13, field(1, "location") + field(2, "secret")) + field(14, 1);
}

std::string model_of(const std::string& graph) {
  return field(1, 8) + field(8, field(2, 14)) + field(7, graph + field(2, "made up"));
}

struct Ports {
  int type = kFloat;
  std::vector<int> input{-1, 3, -1, -1};
  bool second_output = false;
};

const std::string kPool =
    field(1, node("GlobalAveragePool", {"image"}, "pooled")) + field(1, node("Flatten", {"pooled"}, "flat"));

std::string ports(const Ports& ports) {
  const std::string image = value_info("image", ports.type, ports.input), scores = value_info("scores", ports.type, {-1, -1});
  const std::string graph = field(11, image) + field(12, scores);
  return ports.second_output ? graph + field(12, value_info("flat", ports.type, {-1, -1})) : graph;
}

Blob tiny_onnx(const Ports& given = {}) {
  const std::string product = field(1, node("MatMul", {"flat", "weight"}, "scores"));
  const std::string bytes = model_of(kPool + product + field(5, tensor("weight")) + ports(given));
  return {bytes.begin(), bytes.end()};
}

// Without weights: as many scores as there are channels.
Blob pooling(const Ports& given) {
  const std::string bytes = model_of(field(1, node("GlobalAveragePool", {"image"}, "pooled")) +
                                     field(1, node("Flatten", {"pooled"}, "scores")) + ports(given));
  return {bytes.begin(), bytes.end()};
}

Engine& engine() {
  static const std::unique_ptr<Engine> engine = make_engine();
  return *engine;
}

std::string refusal_of(const Blob& model) {
  try {
    engine().load(model);
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::bad_model);
    EXPECT_NE(error.hint(), "");
    return error.what();
  }
  return "none";
}

// ---- which files

TEST(OnnxFile, IsToldByItsStructure) {
  EXPECT_TRUE(is_onnx(test::exported_onnx()));
  EXPECT_TRUE(is_onnx(tiny_onnx()));
  EXPECT_FALSE(is_onnx(test::exported_model("script")));
  EXPECT_FALSE(is_onnx({}));
  for (int byte = 0; byte < 256; ++byte) EXPECT_FALSE(is_onnx(Blob(1000, std::uint8_t(byte))));
  const std::string no_graph = field(1, 8) + field(8, field(2, 14));
  EXPECT_FALSE(is_onnx(Blob(no_graph.begin(), no_graph.end())));
}

TEST(OnnxFile, ATruncatedOneIsNone) {
  const Blob whole = tiny_onnx();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::span<const std::uint8_t> part = std::span(whole).first(size);
    EXPECT_FALSE(is_onnx(part)) << size;
  }
  const Blob exported = test::exported_onnx();
  EXPECT_THROW(engine().load(std::span(exported).first(exported.size() / 2)), Error);
}

TEST(OnnxFile, NestingIsBounded) {
  std::string graph;
  for (int i = 0; i < 10'000; ++i) graph = field(1, field(5, field(6, graph)));  // a node's attribute is a graph
  const std::string bytes = model_of(graph);
  EXPECT_FALSE(is_onnx(Blob(bytes.begin(), bytes.end())));
}

// Every place of a model where a tensor can stand.
TEST(OnnxFile, TensorsInOtherFilesAreRefused) {
  const std::string outside = external_tensor("weight"), attribute = field(1, "value") + field(5, outside);
  const std::string constant = node("Constant", {}, "weight", field(5, attribute));
  const std::pair<const char*, std::string> places[] = {
      {"an initializer", model_of(field(5, outside))},
      {"a sparse initializer's values", model_of(field(15, field(1, outside)))},
      {"a sparse initializer's indices", model_of(field(15, field(2, outside)))},
      {"a constant", model_of(field(1, constant))},
      {"a list of tensors", model_of(field(1, node("Constant", {}, "weight", field(5, field(10, outside)))))},
      {"a sparse constant", model_of(field(1, node("Constant", {}, "weight", field(5, field(22, field(1, outside))))))},
      {"sparse constants", model_of(field(1, node("Constant", {}, "weight", field(5, field(23, field(1, outside))))))},
      {"a branch", model_of(field(1, node("If", {"flat"}, "scores", field(5, field(6, field(1, constant))))))},
      {"a list of branches", model_of(field(1, node("If", {"flat"}, "scores", field(5, field(11, field(5, outside))))))},
      {"a function", model_of("") + field(25, field(7, constant))},
      {"a function's default", model_of("") + field(25, field(11, attribute))},
      {"training", model_of("") + field(20, field(1, field(5, outside)))},
      {"a training step", model_of("") + field(20, field(2, field(5, outside)))},
      {"a tensor without its location's flag", model_of(field(5, field(13, field(1, "location") + field(2, "secret"))))},
      {"a tensor with nothing but the flag", model_of(field(5, field(14, 1)))},
      {"a second graph, which is merged with the first", model_of("") + field(7, field(5, outside))},
  };
  for (const auto& [place, bytes] : places) {
    SCOPED_TRACE(place);
    EXPECT_EQ(refusal_of(Blob(bytes.begin(), bytes.end())), "the ONNX model keeps tensors in other files");
  }
}

// ---- which models

TEST(OnnxModel, WithoutOpenVinoSaysWhatIsMissing) {
  if (kHasOpenVino) GTEST_SKIP() << "built with OpenVINO";
  EXPECT_EQ(refusal_of(tiny_onnx()), "ONNX models need OpenVINO, which imagecalc-runner was built without");
}

TEST(OnnxModel, ThoseThatDoNotClassifyPicturesAreRefused) {
  if (!kHasOpenVino) GTEST_SKIP() << "built without OpenVINO";
  EXPECT_EQ(refusal_of(tiny_onnx()), "none");
  const std::string mismatch = refusal_of(tiny_onnx({.input = {-1, 224, 8, 8}}));
  EXPECT_EQ(mismatch.find("the ONNX model could not be loaded: "), 0u);
  EXPECT_EQ(mismatch.find("src/"), std::string::npos) << mismatch;
  EXPECT_EQ(refusal_of(pooling({.type = kDouble})), "the ONNX model reads f64 instead of f32");
  EXPECT_EQ(refusal_of(tiny_onnx({.input = {-1, -1, -1, 3}})), "none") << "for all one knows";
  EXPECT_EQ(refusal_of(pooling({.input = {-1, 224, 224, 3}})), "the ONNX model reads tensors [?,224,224,3]");
  EXPECT_EQ(refusal_of(tiny_onnx({.input = {-1, 3, -1}})), "the ONNX model reads tensors [?,3,?]");
  EXPECT_EQ(refusal_of(tiny_onnx({.second_output = true})), "the ONNX model has 2 outputs");
  EXPECT_EQ(refusal_of([] {
              const std::string bytes =
                  model_of(field(1, node("NoSuchThing", {"image"}, "scores")) + ports({}));
              return Blob(bytes.begin(), bytes.end());
            }()),
            "the ONNX model could not be loaded: No conversion rule found for operations: NoSuchThing-14");
  EXPECT_EQ(refusal_of([] {
              const std::string bytes = model_of(field(1, node("Relu", {"image"}, "scores")) + ports({}));
              return Blob(bytes.begin(), bytes.end());
            }()),
            "the ONNX model gives tensors [?,3,?,?]");
}

TEST(OnnxModel, IsInspected) {
  if (!kHasOpenVino) GTEST_SKIP() << "built without OpenVINO";
  const InspectReply reply = engine().inspect({tiny_onnx(), {{8, 8}, {16, 24}, {0, 4}}});
  EXPECT_TRUE(reply.onnx);
  EXPECT_EQ(reply.parameters, 0u);
  ASSERT_EQ(reply.shapes.size(), 3u);
  EXPECT_EQ(reply.shapes[0].outputs, 2u);
  EXPECT_EQ(reply.shapes[1].outputs, 2u);
  EXPECT_EQ(reply.shapes[2].outputs, 0u);
  EXPECT_EQ(reply.shapes[2].refusal, "a tensor of 0x4 is out of range");
  EXPECT_FALSE(engine().inspect({test::exported_model("script"), {{24, 24}}}).onnx);
}

TEST(OnnxModel, ASizeOrNumberThatItDoesNotTakeIsRefused) {
  if (!kHasOpenVino) GTEST_SKIP() << "built without OpenVINO";
  // flattened, the picture must have 3 numbers
  const std::string one_size = model_of(field(1, node("Flatten", {"image"}, "flat")) +
                                        field(1, node("MatMul", {"flat", "weight"}, "scores")) +
                                        field(5, tensor("weight")) + ports({}));
  InspectReply reply = engine().inspect({Blob(one_size.begin(), one_size.end()), {{8, 8}, {1, 1}}});
  EXPECT_EQ(reply.shapes.at(0).refusal, "the ONNX model gives a tensor [512,2] for 8 images of 8x8");
  EXPECT_EQ(reply.shapes.at(1).outputs, 2u);
  // the mean of all images
  const std::string axes = field(5, field(1, "axes") + field(8, 0) + field(20, 7));
  const std::string mean = model_of(kPool + field(1, node("MatMul", {"flat", "weight"}, "each")) + field(5, tensor("weight")) +
                                    field(1, node("ReduceMean", {"each"}, "scores", axes)) + ports({}));
  reply = engine().inspect({Blob(mean.begin(), mean.end()), {{8, 8}}});
  EXPECT_EQ(reply.shapes.at(0).refusal, "the ONNX model gives a tensor [1,2] for 8 images of 8x8");
}

}  // namespace
}  // namespace imagecalc
