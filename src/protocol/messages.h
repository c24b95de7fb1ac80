// What Postgres and imagecalc-runner say to each other.
//
// Serving (Unix socket, one conversation a session; several requests may be on their way, replies come in their order):
//   InferRequest  -> InferReply | NeedModel | Failure       NeedModel: send LoadModel, then the request again
//   LoadModel     -> Done | Failure
//   InspectModel  -> InspectReply | Failure
//   ReadStatistics -> StatisticsReply
//   ResetStatistics -> Done
//
// Training (stdin and stdout of `imagecalc-runner --train`, request then reply, Progress in between):
//   TrainSetup    -> TrainReady | Failure
//   AddImages     -> AddReply | Failure
//   MeasureStorage-> Progress*, StorageReply | Failure
//   Train         -> Progress*, TrainReply | Failure         those with more_follow begin with the last one, together
// The training runner ends when its stdin does.
//
// A serving runner that is about to end says Leaving after its last reply: requests without one were not begun.
//
// A runner can tell a stale client by kProtocolVersion, which opens every conversation (Hello -> Done | Failure).
#pragma once

#include <optional>
#include <variant>

#include "format/format.h"
#include "protocol/wire.h"

namespace imagecalc {

inline constexpr std::uint32_t kProtocolVersion = 11;

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

// Which library computes. automatic: whichever is the fastest.
enum class EngineChoice : std::uint8_t { automatic, libtorch, openvino };

// auto, libtorch, openvino.
std::string_view to_string(EngineChoice choice);
EngineChoice parse_engine(std::string_view name);  // Error(invalid_argument) for any other name

// Where models run. automatic: on a device where there is one that can.
struct DeviceChoice {
  enum class Kind : std::uint8_t { automatic, cpu, cuda };
  Kind kind = Kind::automatic;
  std::uint8_t number = kAny;  // of the CUDA device

  static constexpr std::uint8_t kAny = 255;

  friend bool operator==(const DeviceChoice&, const DeviceChoice&) = default;
};

// auto, cpu, cuda, or cuda:N.
std::string to_string(DeviceChoice choice);
DeviceChoice parse_device(std::string_view name);  // Error(invalid_argument) for any other name

// Microseconds by a device's own clock.
struct DeviceTimes {
  float transfer_us = 0;  // to the device
  float decode_us = 0;    // payloads to coefficients
  float model_us = 0;     // coefficients to scores

  DeviceTimes& operator+=(const DeviceTimes& other) {
    transfer_us += other.transfer_us;
    decode_us += other.decode_us;
    model_us += other.model_us;
    return *this;
  }
  friend DeviceTimes operator*(float share, const DeviceTimes& times) {
    return {share * times.transfer_us, share * times.decode_us, share * times.model_us};
  }
};

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
  EngineChoice engine = EngineChoice::automatic;
  bool bf16 = false;  // whether scores may be computed in bfloat16
  DeviceChoice device;
  bool device_decode = false;  // whether a device decodes values itself, where it can
  std::vector<InferItem> items;
};

// An item that cannot be classified fails alone: its row of scores is zeros, and failures says why.
struct InferReply {
  std::uint32_t outputs = 0;      // a row's length; 0 where every item failed
  std::vector<float> scores;      // [items][outputs], as the model gives them (logits)
  float decode_us = 0;            // for the whole request: bytes to tensor
  float model_us = 0;             // for the whole request: tensor to scores
  std::vector<Failure> failures;  // by item, ascending
  std::vector<EngineChoice> engines;  // those that computed scores, in the order of their first
  bool alone = false;                 // no other session has lately asked for scores
  std::string device;                 // that computed them, as cuda:0; empty: the CPU
  DeviceTimes device_times;
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
  std::vector<TensorShape> shapes;  // tried one after the other, as [n,3,height,width] of a few images
  bool try_stem = false;            // whether to look if its first convolution can be replaced
};

struct InspectReply {
  struct Shape {
    std::uint32_t outputs = 0;  // 0 where the model refused the shape
    std::string refusal;        // what the model said
  };
  std::vector<Shape> shapes;
  std::uint64_t parameters = 0;   // how many numbers can be trained; 0 for a frozen model
  bool learns_statistics = true;  // false: it has batch norm whose running statistics do not move in training mode
  bool onnx = false;              // not TorchScript: it cannot be trained
  std::string stem_refusal;       // why its first convolution cannot be replaced; empty: it can, or that was not asked
};

struct Leaving {};

struct ReadStatistics {};

// How long requests took: of the last ones, up to 1024.
struct Percentiles {
  float p50_us = 0, p95_us = 0, p99_us = 0;
};

// What was served since the last reset.
struct Served {
  std::uint64_t requests = 0;
  std::uint64_t images = 0;
  std::uint64_t failures = 0;  // of images
  double decode_us = 0;        // bytes to tensors
  double model_us = 0;         // tensors to scores
  double device_transfer_us = 0, device_decode_us = 0, device_model_us = 0;  // as DeviceTimes
  Percentiles request;         // from its arrival to its reply
};

// A way to run a model on tensors of one size in batches of about one number of images, and what came of trying it.
struct PlanStatistics {
  TensorShape size;
  std::uint32_t batch = 0;
  EngineChoice asked = EngineChoice::automatic;  // by the requests that it is tried for
  bool bf16 = false;                             // whether these may be computed in bfloat16
  std::string device;                            // as cuda:0; empty: the CPU
  EngineChoice engine = EngineChoice::libtorch;
  std::string plan;
  float us = 0;         // an image; 0 where it was not timed
  bool chosen = false;  // in use: the fastest so far
  bool settled = false;  // nothing is left to try
  std::string refusal;  // why it is not used; empty where its scores are right
};

struct ModelStatistics {
  ModelHash model{};
  std::uint64_t memory = 0;  // bytes, as Model::memory
  Served served;
  std::vector<PlanStatistics> plans;  // those of the size used last come first
};

struct StatisticsReply {
  std::uint32_t pid = 0;
  std::uint32_t threads = 0;
  std::vector<EngineChoice> engines;  // that this runner has
  std::vector<std::string> devices;   // beside the CPU: as "cuda:0 (its name)"
  std::string device_note;            // why there are none; empty where there are
  std::int64_t uptime_us = 0;
  std::int64_t since_reset_us = 0;
  std::uint64_t memory = 0;       // bytes of the process in memory
  std::uint32_t connections = 0;  // sessions, the one that asks included
  std::uint32_t queue = 0;        // requests in the runner that wait for their reply
  std::uint64_t refused = 0;      // requests that found no room, since the last reset
  Served served;                  // all models together, those that have left the cache included
  std::vector<ModelStatistics> models;  // in the cache, the one used last first
};

struct ResetStatistics {};

// ---- training

// How a picture is varied from epoch to epoch: another part of it and a coin's flip, the flip alone, or not at all.
enum class Augmentation : std::uint8_t { crop, flip, none };

// crop, flip, none.
std::string_view to_string(Augmentation augmentation);
Augmentation parse_augmentation(std::string_view name);  // Error(invalid_argument) for any other name

struct TrainSetup {
  Blob model;  // TorchScript, scripted and unfrozen
  std::uint32_t classes = 0;
  std::uint32_t size = 0;  // pictures are scaled to size x size once, and kept so
  std::uint32_t threads = 1;
  std::uint32_t batch_size = 32;
  float learning_rate = 0.05f;
  bool one_cycle = true;  // else constant
  bool balanced = false;  // whether each class counts as much as any other, however few its pictures
  Augmentation augmentation = Augmentation::crop;
  std::uint64_t seed = 0;
  std::int64_t max_pixels = 0;
  std::uint64_t memory = std::uint64_t{1} << 30;  // bytes of pictures that stay in memory; the rest goes into a file in spool_folder
  std::string spool_folder;
  DeviceChoice device;
};

struct TrainReady {
  std::uint32_t at_once = 1;  // how many trainings run at the same time: one on each device, or one on the CPU
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
  bool try_bf16 = false;           // whether to evaluate in bfloat16, too
  // Evaluates after half of the epochs, too, unless there is but one, and ends there where the accuracy is less than this.
  std::optional<float> least_halfway;
  std::uint32_t stem = 0;  // rows and columns of the stem that the model begins with (runner/engine/stem.h); 0: as it is
  bool more_follow = false;  // the next message asks for another training beside this one; replies come in that order
};

// Asks for the setup's model with such a stem: a StemReply, or Fault::bad_model.
struct MakeStem {
  std::uint32_t kernel = 0;
};
struct StemReply {
  Blob model;
};

struct Progress {
  std::uint32_t step = 0, steps = 0;  // pictures measured, or epochs trained, of all trainings together
  float loss = 0;                     // mean over the epoch; 0 when measuring
};

struct TrainReply {
  float accuracy = 0;       // top-1 on the validation pictures, 0..1
  float top5_accuracy = 0;  // whose label is among the five with the highest scores
  float loss = 0;           // cross entropy on the validation pictures
  float seconds = 0;
  std::uint32_t epochs = 0;  // that were trained: fewer than asked where it ended halfway
  std::optional<float> halfway_accuracy;  // where that was asked for
  std::optional<float> bf16_accuracy;  // in bfloat16, where that was asked for and this machine serves models so
  Normalisation normalisation;
  Blob weights;  // the trained module as TorchScript, in evaluation mode; empty where it ended halfway
};

using Message =
    std::variant<Hello, Done, Failure, InferRequest, InferReply, NeedModel, LoadModel, InspectModel, InspectReply,
                 TrainSetup, AddImages, AddReply, MeasureStorage, StorageReply, Train, Progress, TrainReply, ReadStatistics,
                 StatisticsReply, ResetStatistics, Leaving, MakeStem, StemReply, TrainReady>;

// A whole frame, header included. Error(limit_exceeded) past kMaxFrameSize.
Blob encode_frame(const Message& message);

struct FrameHeader {
  std::uint32_t body_size = 0;
  std::uint8_t kind = 0;
};

// Error(protocol) for a length or a kind that cannot be.
FrameHeader decode_frame_header(std::span<const std::uint8_t, kFrameHeaderSize> header);

// What the beginning of an InferRequest's body, its first outline_size() bytes, says of the rest. Nothing for another
// message; Error(protocol).
struct InferOutline {
  ModelInput input;
  std::uint32_t items = 0;
};
std::size_t outline_size();
std::optional<InferOutline> outline(const FrameHeader& header, std::span<const std::uint8_t> beginning);

Message decode_body(const FrameHeader& header, std::span<const std::uint8_t> body);

}  // namespace imagecalc
