// How the runner sees models: bytes in, scores out. Nothing here knows which library computes them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "codec/tensor.h"
#include "protocol/messages.h"

namespace imagecalc {

struct Scores {
  std::uint32_t outputs = 0;  // a row's length
  std::vector<float> values;  // [images][outputs]
};

// A loaded model, ready to classify. Several threads may use it at once.
class Model {
 public:
  virtual ~Model() = default;

  // batch: [images][3][height][width]. Throws Error(bad_model) where the model refuses the size, or gives anything else than
  // a row of scores an image. threads: how many it may use.
  virtual Scores run(const float* batch, std::size_t images, TensorSize size, int threads) = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;

  // Throws Error(bad_model) for bytes that are no model.
  virtual std::shared_ptr<Model> load(std::span<const std::uint8_t> bytes) = 0;

  // What a model takes and whether it can be trained.
  virtual InspectReply inspect(const InspectModel& request) = 0;
};

// LibTorch on the CPU, warm: the first model does not pay for the library's start.
std::unique_ptr<Engine> make_torch_engine();

}  // namespace imagecalc
