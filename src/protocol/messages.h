// What Postgres and imagecalc-runner say to each other.
//
// Serving (Unix socket, one conversation a session; several requests may be on their way, replies come in their order):
//   InferRequest  -> InferReply | NeedModel | Failure       NeedModel: send LoadModel, then the request again
//   LoadModel     -> Done | Failure
//   InspectModel  -> InspectReply | Failure
//
// Training (stdin and stdout of `imagecalc-runner --train`, request then reply, Progress in between):
//   TrainSetup    -> Done | Failure
//   AddImages     -> AddReply | Failure
//   MeasureStorage-> Progress*, StorageReply | Failure
//   Train         -> Progress*, TrainReply | Failure
// The training runner ends when its stdin does.
//
// A runner can tell a stale client by kProtocolVersion, which opens every conversation (Hello -> Done | Failure).
#pragma once

#include <optional>
#include <variant>

#include "format/format.h"
#include "protocol/wire.h"

namespace imagecalc {

inline constexpr std::uint32_t kProtocolVersion = 2;

inline constexpr std::size_t kMaxModelBytes = 400'000'000;

// SHA-256 of a model's bytes.
using ModelHash = std::array<std::uint8_t, 32>;

struct Hello {
  std::uint32_t version = kProtocolVersion;
};

struct Done {};

struct Failure {
  Fault fault = Fault::internal;
  std::int32_t item = -1;  // which image of the request it concerns, or -1
  std::string message, hint;
};

// ---- serving

struct InferItem {
  enum class Kind : std::uint8_t { value, picture };  // an icimage value, or the bytes of a picture file
  Kind kind = Kind::value;
  Blob bytes;
};

struct InferRequest {
  ModelHash model{};
  ModelInput input;  // a picture is encoded to this format on the way; a value must be of it
  Normalisation normalisation;
  std::int64_t max_pixels = 0;  // limit for pictures
  std::vector<InferItem> items;
};

// An item that cannot be classified fails alone: its row of scores is zeros, and failures says why.
struct InferReply {
  std::uint32_t outputs = 0;      // a row's length; 0 where every item failed
  std::vector<float> scores;      // [items][outputs], as the model gives them (logits)
  float decode_us = 0;            // for the whole request: bytes to tensor
  float model_us = 0;             // for the whole request: tensor to scores
  std::vector<Failure> failures;  // by item, ascending
};

struct NeedModel {};

struct LoadModel {
  ModelHash model{};
  Blob bytes;
};

struct TensorShape {
  std::uint32_t height = 0, width = 0;
};

struct InspectModel {
  Blob bytes;
  std::vector<TensorShape> shapes;  // tried one after the other as [2,3,height,width]
};

struct InspectReply {
  struct Shape {
    std::uint32_t outputs = 0;  // 0 where the model refused the shape
    std::string refusal;        // what the model said
  };
  std::vector<Shape> shapes;
  std::uint64_t parameters = 0;   // how many numbers can be trained; 0 for a frozen model
  bool learns_statistics = true;  // false: it has batch norm whose running statistics do not move in training mode
};

// ---- training

struct TrainSetup {
  Blob model;  // TorchScript, scripted and unfrozen
  std::uint32_t classes = 0;
  std::uint32_t size = 0;  // pictures are scaled to size x size once, and kept so
  std::uint32_t threads = 1;
  std::uint32_t batch_size = 32;
  float learning_rate = 0.05f;
  bool one_cycle = true;  // else constant
  std::uint64_t seed = 0;
  std::int64_t max_pixels = 0;
};

struct AddImages {
  struct Image {
    Blob file;  // JPEG
    std::uint32_t label = 0;
    bool validation = false;
  };
  std::vector<Image> images;
};

struct AddReply {
  struct Rejected {
    std::uint32_t index = 0;  // in the request
    std::string message;
  };
  std::uint64_t training = 0, validation = 0;  // held so far
  std::vector<Rejected> rejected;
};

struct MeasureStorage {
  std::uint32_t sample = 16;  // pictures, spread evenly over the training set
  std::uint32_t compression_level = 3;
};

struct StorageReply {
  std::vector<float> mean_bytes;  // of a whole value, in the order of design_space(size)
  std::vector<float> deviation;   // between pictures
};

struct Train {
  ModelInput input;
  std::uint32_t epochs = 0;
  std::uint64_t seed = 0;
  std::optional<Blob> start_from;  // a TrainReply's weights; absent: the setup's model
};

struct Progress {
  std::uint32_t step = 0, steps = 0;  // pictures measured, or epochs trained
  float loss = 0;                     // mean over the epoch; 0 when measuring
};

struct TrainReply {
  float accuracy = 0;  // top-1 on the validation pictures, 0..1
  float loss = 0;      // cross entropy on the validation pictures
  float seconds = 0;
  Normalisation normalisation;
  Blob weights;  // the trained module as TorchScript, in evaluation mode
};

using Message =
    std::variant<Hello, Done, Failure, InferRequest, InferReply, NeedModel, LoadModel, InspectModel, InspectReply,
                 TrainSetup, AddImages, AddReply, MeasureStorage, StorageReply, Train, Progress, TrainReply>;

// A whole frame, header included. Error(limit_exceeded) past kMaxFrameSize.
Blob encode_frame(const Message& message);

struct FrameHeader {
  std::uint32_t body_size = 0;
  std::uint8_t kind = 0;
};

// Error(protocol) for a length or a kind that cannot be.
FrameHeader decode_frame_header(std::span<const std::uint8_t, kFrameHeaderSize> header);
Message decode_body(const FrameHeader& header, std::span<const std::uint8_t> body);

}  // namespace imagecalc
