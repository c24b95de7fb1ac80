// Images to scores by the serving runner, and scores to what SQL shows of them.
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "codec/picture.h"
#include "pg/model_catalog.h"
#include "pg/postgres_api.h"
#include "pg/runner_client.h"

namespace imagecalc {

// A request to a model, without items yet.
InferRequest request_for(const Model& model);

// Which engine is asked for: the session's setting, or else the model's.
EngineChoice wanted_engine(const Model& model);
DeviceChoice wanted_device(const Model& model);

// Throws Error(wrong_format) or Error(corrupt_value) for an image that cannot be one for the model, as far as is seen
// without decoding it.
void check_image(const Model& model, Bytes image, InferItem::Kind kind);

// Throws Error(invalid_argument) for a number of labels below 1.
void check_label_count(int count);

// A request on its way. bytes_of gives the model's bytes where the runner lacks them; it is called by wait.
class PendingScores {
 public:
  using BytesOf = std::function<Blob()>;
  PendingScores(InferRequest request, BytesOf bytes_of);
  InferReply wait();

 private:
  Message request_;  // kept: the runner may lack the model
  BytesOf bytes_of_;
  void post();

  std::uint64_t models_sent_ = 0;  // by this session when the request was posted
  std::optional<PendingReply> reply_;
};

// Throws Error(bad_model) where the model gives another number of scores than it has labels.
void check_reply(const Model& model, std::size_t items, const InferReply& reply);

std::vector<float> softmax(std::span<const float> scores);

// Both in the current memory context.
Datum best_label(const Model& model, std::span<const float> scores);
Datum probabilities(std::span<const float> scores);

}  // namespace imagecalc
