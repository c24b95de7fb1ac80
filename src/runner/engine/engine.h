// How the runner sees models: tensors in, scores out. Nothing here knows which library computes them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "codec/tensor.h"
#include "protocol/messages.h"

namespace imagecalc {

inline constexpr int kCpu = -1;  // no device: the CPU

class Devices;
class SentImages;

// What a request wishes of the plan that computes its scores.
struct Wish {
  Wish(EngineChoice wanted = EngineChoice::automatic, bool may_round = false, int place = kCpu)
      : engine(wanted), bf16(may_round), device(place) {}

  EngineChoice engine;
  bool bf16;   // whether it may compute in bfloat16
  int device;  // one of Devices, or kCpu

  friend auto operator<=>(const Wish&, const Wish&) = default;
};

// Images that go through a model at once: tensors, or what has been sent to a device and becomes tensors there. Whoever asks keeps
// them until the scores are there.
struct TensorBatch {
  TensorBatch(const float* floats, std::size_t count) : tensors(floats), images(count) {}
  TensorBatch(std::span<SentImages* const> parts, std::size_t count) : sent(parts), images(count) {}

  const float* tensors = nullptr;          // [images][3][height][width], or nothing
  std::span<SentImages* const> sent = {};  // one after the other, all to the device that is wished for
  std::size_t images;
};

struct Scores {
  std::uint32_t outputs = 0;  // a row's length
  std::vector<float> values;  // [images][outputs]
  EngineChoice engine = EngineChoice::libtorch;  // that computed them
  DeviceTimes device = {};    // of a device's own clock, without what SentImages::arrival() tells
};

// A way to run a model: what it costs, or why it is not taken.
struct PlanReport {
  EngineChoice engine = EngineChoice::libtorch;
  std::string plan;
  float us = 0;         // an image; 0 where it was not timed
  std::string refusal;  // empty where its scores are right
};

// What was chosen for batches of about one size.
struct ChoiceReport {
  TensorSize size{0, 0};
  std::size_t batch = 0;
  Wish asked;
  bool settled = false;           // every plan has been tried
  PlanReport chosen;              // so far
  std::vector<PlanReport> plans;  // those tried
  std::string device = {};        // its name; empty: the CPU
};

struct ModelDescription {
  std::vector<ChoiceReport> choices;
};

// A loaded model, ready to classify. Several threads may use it at once.
class Model {
 public:
  virtual ~Model() = default;

  // Throws Error(bad_model) where the model refuses the size, or gives anything else than a row of scores an image. threads:
  // how many it may use. The first calls of a size also look for the best way to run it: one call at a time, a second or so
  // in all, while others go on with what is known.
  virtual Scores run(const TensorBatch& batch, TensorSize size, int threads, Wish wish = {}) = 0;

  // Why it cannot be run on a device with tensors of that size; empty where it can: it has been tried, and its scores are the
  // CPU's. The first to ask waits for that.
  virtual std::string device_refusal(int /*device*/, TensorSize /*size*/) { return "the model has no form for devices"; }

  virtual ModelDescription describe() const = 0;

  // About how many bytes it takes, its plans included: weights, as often as they are kept, and what a plan keeps beside them. It
  // grows as plans are made. Never waits for one that is being made.
  virtual std::size_t memory() const = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;

  // Throws Error(bad_model) for bytes that are no model.
  virtual std::shared_ptr<Model> load(std::span<const std::uint8_t> bytes) = 0;

  // What a model takes and whether it can be trained.
  virtual InspectReply inspect(const InspectModel& request) = 0;

  // The libraries that it computes with.
  virtual std::vector<EngineChoice> libraries() const = 0;
};

// LibTorch on the CPU, warm: the first model does not pay for the library's start. And OpenVINO, where it was built in, and
// LibTorch on these devices, which outlive it. threads: how many all calls together may use. This thread, and those that it
// begins from now on, take numbers below 1e-38 for zeros.
std::unique_ptr<Engine> make_engine(int threads, const Devices& devices);
std::unique_ptr<Engine> make_engine(int threads = 1);  // without devices

}  // namespace imagecalc
