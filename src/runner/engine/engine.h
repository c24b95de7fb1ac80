// How the runner sees models: bytes in, scores out. Nothing here knows which library computes them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "codec/tensor.h"
#include "protocol/messages.h"

namespace imagecalc {

// What a request wishes of the plan that computes its scores.
struct Wish {
  Wish(EngineChoice wanted = EngineChoice::automatic, bool may_round = false) : engine(wanted), bf16(may_round) {}

  EngineChoice engine;
  bool bf16;  // whether it may compute in bfloat16

  friend auto operator<=>(const Wish&, const Wish&) = default;
};

struct Scores {
  std::uint32_t outputs = 0;  // a row's length
  std::vector<float> values;  // [images][outputs]
  EngineChoice engine = EngineChoice::libtorch;  // that computed them
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
};

struct ModelDescription {
  std::vector<ChoiceReport> choices;
};

// A loaded model, ready to classify. Several threads may use it at once.
class Model {
 public:
  virtual ~Model() = default;

  // batch: [images][3][height][width]. Throws Error(bad_model) where the model refuses the size, or gives anything else than
  // a row of scores an image. threads: how many it may use. The first calls of a size also look for the best way to run it:
  // one call at a time, a second or so in all, while others go on with what is known.
  virtual Scores run(const float* batch, std::size_t images, TensorSize size, int threads,
                     Wish wish = {}) = 0;

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

// LibTorch on the CPU, warm: the first model does not pay for the library's start. And OpenVINO, where it was built in.
// threads: how many all calls together may use. This thread, and those that it begins from now on, take numbers below 1e-38
// for zeros.
std::unique_ptr<Engine> make_engine(int threads = 1);

}  // namespace imagecalc
