#include "runner/engine/onnx_file.h"

#include <limits>
#include <optional>

#include "format/error.h"

namespace imagecalc {

namespace {

// Of the messages of onnx.proto, those that may have tensors somewhere within.
enum class Kind { model, training, function, graph, node, attribute, sparse_tensor, tensor };

struct Field {
  Kind in;
  std::uint64_t number;
  Kind holds;
};

constexpr std::uint64_t kGraphOfModel = 7;
constexpr Field kFields[] = {
    {Kind::model, kGraphOfModel, Kind::graph},  {Kind::model, 20, Kind::training},
    {Kind::model, 25, Kind::function},          {Kind::training, 1, Kind::graph},
    {Kind::training, 2, Kind::graph},           {Kind::function, 7, Kind::node},
    {Kind::function, 11, Kind::attribute},      {Kind::graph, 1, Kind::node},
    {Kind::graph, 5, Kind::tensor},             {Kind::graph, 15, Kind::sparse_tensor},
    {Kind::node, 5, Kind::attribute},           {Kind::attribute, 5, Kind::tensor},
    {Kind::attribute, 6, Kind::graph},          {Kind::attribute, 10, Kind::tensor},
    {Kind::attribute, 11, Kind::graph},         {Kind::attribute, 22, Kind::sparse_tensor},
    {Kind::attribute, 23, Kind::sparse_tensor}, {Kind::sparse_tensor, 1, Kind::tensor},
    {Kind::sparse_tensor, 2, Kind::tensor},
};
constexpr std::uint64_t kExternalData = 13, kDataLocation = 14;  // of a tensor

std::optional<Kind> held_by(Kind in, std::uint64_t number) {
  for (const Field& field : kFields) {
    if (field.in == in && field.number == number) return field.holds;
  }
  return std::nullopt;
}

// Walks through a protocol buffer. Each step is false where the bytes are none.
class Walk {
 public:
  bool message(std::span<const std::uint8_t> bytes, Kind kind, int depth = 0) {
    if (depth > kMaxDepth) return false;
    while (!bytes.empty()) {
      if (!field(bytes, kind, depth)) return false;
    }
    return true;
  }

  bool has_graph = false, has_external_data = false;

 private:
  static constexpr int kMaxDepth = 100;  // as Protobuf's own

  bool field(std::span<const std::uint8_t>& bytes, Kind kind, int depth) {
    std::uint64_t key;
    if (!varint(bytes, key) || key > std::numeric_limits<std::uint32_t>::max()) return false;
    const std::uint64_t number = key >> 3, wire_type = key & 7;
    if (number == 0) return false;
    std::uint64_t value = 1;
    std::span<const std::uint8_t> content;
    switch (wire_type) {
      case 0:
        if (!varint(bytes, value)) return false;
        break;
      case 1:
        if (!take(bytes, 8, content)) return false;
        break;
      case 2:
        if (!varint(bytes, value) || !take(bytes, value, content)) return false;
        value = 1;
        break;
      case 5:
        if (!take(bytes, 4, content)) return false;
        break;
      default:
        return false;  // groups, which ONNX has none of
    }
    if (kind == Kind::tensor && (number == kExternalData || (number == kDataLocation && value != 0))) has_external_data = true;
    if (wire_type != 2) return true;
    if (kind == Kind::model && number == kGraphOfModel) has_graph = true;
    const std::optional<Kind> held = held_by(kind, number);
    return !held || message(content, *held, depth + 1);
  }

  static bool varint(std::span<const std::uint8_t>& bytes, std::uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
      const std::uint8_t byte = bytes.front();
      bytes = bytes.subspan(1);
      value |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  static bool take(std::span<const std::uint8_t>& bytes, std::uint64_t size, std::span<const std::uint8_t>& content) {
    if (size > bytes.size()) return false;
    content = bytes.first(size);
    bytes = bytes.subspan(size);
    return true;
  }
};

}  // namespace

bool is_onnx(std::span<const std::uint8_t> bytes) {
  Walk walk;
  if (!walk.message(bytes, Kind::model) || !walk.has_graph) return false;
  if (walk.has_external_data) {
    throw Error(Fault::bad_model, "the ONNX model keeps tensors in other files",
                "Save it as one file: onnx.save(model, path, save_as_external_data=False).");
  }
  return true;
}

}  // namespace imagecalc
