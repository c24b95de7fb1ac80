#include "runner/engine/openvino_onnx.h"

#include <istream>
#include <streambuf>
#include <string>

#include <openvino/frontend/onnx/frontend.hpp>

#include "format/error.h"

namespace imagecalc {

namespace {

constexpr char kWrapHint[] = "Export a module that takes float pictures [images, 3, height, width] and returns one tensor of "
                             "scores, [images, classes].";

[[noreturn]] void refuse(const std::string& what) { throw Error(Fault::bad_model, "the ONNX model " + what, kWrapHint); }

// What a stream reads where it lies.
class MemoryBuffer : public std::streambuf {
 public:
  explicit MemoryBuffer(std::span<const std::uint8_t> bytes) {
    char* begin = reinterpret_cast<char*>(const_cast<std::uint8_t*>(bytes.data()));
    setg(begin, begin, begin + bytes.size());
  }

 private:
  pos_type seekoff(off_type offset, std::ios_base::seekdir from, std::ios_base::openmode) override {
    char* base = from == std::ios_base::beg ? eback() : from == std::ios_base::cur ? gptr() : egptr();
    if (offset < eback() - base || offset > egptr() - base) return pos_type(off_type(-1));
    setg(eback(), base + offset, egptr());
    return gptr() - eback();
  }
  pos_type seekpos(pos_type position, std::ios_base::openmode which) override {
    return seekoff(off_type(position), std::ios_base::beg, which);
  }
};

bool may_be(const ov::Dimension& dimension, std::int64_t length) { return dimension.compatible(ov::Dimension(length)); }

void check_input(const ov::Model& model) {
  if (model.inputs().size() != 1) refuse("has " + std::to_string(model.inputs().size()) + " inputs");
  if (model.input().get_element_type() != ov::element::f32)
    refuse("reads " + model.input().get_element_type().to_string() + " instead of f32");
  const ov::PartialShape shape = model.input().get_partial_shape();
  if (shape.rank().is_static() && (shape.rank() != 4 || !may_be(shape[1], 3))) refuse("reads tensors " + shape.to_string());
}

void check_output(const ov::Model& model) {
  if (model.outputs().size() != 1) refuse("has " + std::to_string(model.outputs().size()) + " outputs");
  if (model.output().get_element_type() != ov::element::f32)
    refuse("gives " + model.output().get_element_type().to_string() + " instead of f32");
  const ov::PartialShape shape = model.output().get_partial_shape();
  if (shape.rank().is_static() && shape.rank() != 2) refuse("gives tensors " + shape.to_string());
}

}  // namespace

std::shared_ptr<ov::Model> read_onnx(std::span<const std::uint8_t> bytes) {
  MemoryBuffer buffer(bytes);
  std::istream stream(&buffer);
  ov::frontend::onnx::FrontEnd frontend;
  std::shared_ptr<ov::Model> model = frontend.convert(frontend.load(static_cast<std::istream*>(&stream)));
  check_input(*model);
  check_output(*model);
  return model;
}

std::shared_ptr<ov::Model> reshaped(const ov::Model& model, std::size_t images, TensorSize size) {
  const auto count = static_cast<std::int64_t>(images);
  std::shared_ptr<ov::Model> copy = model.clone();
  copy->reshape(ov::PartialShape{count, 3, size.height, size.width});
  const ov::PartialShape scores = copy->output().get_partial_shape();
  if (scores.rank() != 2 || !may_be(scores[0], count)) {
    throw Error(Fault::bad_model,
                "the ONNX model gives a tensor " + scores.to_string() + " for " + std::to_string(images) + " images of " +
                    std::to_string(size.height) + "x" + std::to_string(size.width),
                "Give it the size of pictures that it reads, and export it for any number of them (dynamic_axes).");
  }
  return copy;
}

}  // namespace imagecalc
