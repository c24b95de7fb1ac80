#include "pg/scoring.h"

#include <algorithm>
#include <cmath>

#include "codec/value.h"
#include "pg/datum.h"
#include "pg/icimage.h"
#include "pg/settings.h"

namespace imagecalc {

namespace {

// The most accuracy that bfloat16 may cost a model: half a point. The rest is for the rounding of a difference of reals.
constexpr double kMaxBf16AccuracyLoss = 0.005 + 1e-6;

bool may_use_bf16(const Model& model) {
  return setting_inference_precision == static_cast<int>(InferencePrecision::automatic) && model.bf16_accuracy_loss &&
         *model.bf16_accuracy_loss <= kMaxBf16AccuracyLoss;
}

// The models that this session has sent. Those who asked before the last one came may still be told to send it.
struct SentModels {
  std::uint64_t count = 0;
  ModelHash last{};
};
SentModels sent;

}  // namespace

InferRequest request_for(const Model& model) {
  InferRequest request;
  request.model = model.hash;
  request.input = model.input;
  request.normalisation = model.normalisation;
  request.max_pixels = setting_max_pixels;
  request.engine = wanted_engine(model);
  request.bf16 = may_use_bf16(model);
  request.device = wanted_device(model);
  request.device_decode = setting_device_decode;
  return request;
}

EngineChoice wanted_engine(const Model& model) {
  const auto setting = static_cast<EngineChoice>(setting_engine);
  return setting == EngineChoice::automatic ? model.engine : setting;
}

DeviceChoice wanted_device(const Model& model) {
  const DeviceChoice setting = parse_device(setting_device);
  return setting.kind == DeviceChoice::Kind::automatic ? model.device : setting;
}

void check_image(const Model& model, Bytes image, InferItem::Kind kind) {
  if (kind == InferItem::Kind::picture) return;
  const Format have = read_value_header(image, current_limits()).format;
  if (model.input.rgb)
    throw Error(Fault::wrong_format, "model \"" + model.name + "\" reads RGB pictures, not icimage values",
                "Give it the picture file as bytea, or design a model for icimage with ic_design.");
  if (have != model.input.format) refuse_format(have, model.input.format);
}

void check_label_count(int count) {
  if (count < 1) throw Error(Fault::invalid_argument, "k must be at least 1", "k is the number of labels to show.");
}

PendingScores::PendingScores(InferRequest request, BytesOf bytes_of)
    : request_(std::move(request)), bytes_of_(std::move(bytes_of)) {
  post();
}

void PendingScores::post() {
  models_sent_ = sent.count;
  reply_.emplace(request_);
}

InferReply PendingScores::wait() {
  constexpr int kTries = 5;  // others may push the model out of a small cache before it is used
  for (int i = 0; i < kTries; ++i) {
    Message reply = reply_->wait(request_);
    if (auto* scores = std::get_if<InferReply>(&reply)) return std::move(*scores);
    if (!std::holds_alternative<NeedModel>(reply)) throw Error(Fault::protocol, "unexpected reply from imagecalc-runner");
    const ModelHash& model = std::get<InferRequest>(request_).model;
    if (sent.count == models_sent_ || sent.last != model) {
      ask_runner_for<Done>(LoadModel{model, bytes_of_()});
      sent = {sent.count + 1, model};
    }
    post();
  }
  throw Error(Fault::limit_exceeded, "imagecalc-runner's cache is too small for the models in use",
              "Use fewer models at a time.");
}

void check_reply(const Model& model, std::size_t items, const InferReply& reply) {
  const bool whole = reply.outputs > 0 || reply.failures.size() == items;
  if (!whole || reply.scores.size() != items * reply.outputs)
    throw Error(Fault::protocol, "imagecalc-runner's reply does not fit the request");
  if (reply.outputs == 0 || reply.outputs == model.labels.size()) return;
  throw Error(Fault::bad_model, "model \"" + model.name + "\" gave " + std::to_string(reply.outputs) + " scores for " +
                                    std::to_string(model.labels.size()) + " labels");
}

std::vector<float> softmax(std::span<const float> scores) {
  const float top = *std::max_element(scores.begin(), scores.end());
  std::vector<float> values(scores.size());
  double sum = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) sum += values[i] = std::exp(scores[i] - top);
  for (float& value : values) value = static_cast<float>(value / sum);
  return values;
}

Datum best_label(const Model& model, std::span<const float> scores) {
  const auto best = std::max_element(scores.begin(), scores.end()) - scores.begin();
  return text_datum(model.labels[static_cast<std::size_t>(best)]);
}

Datum probabilities(std::span<const float> scores) {
  const std::vector<float> values = softmax(scores);
  auto* elements = static_cast<Datum*>(allocate(values.size() * sizeof(Datum)));
  std::transform(values.begin(), values.end(), elements, [](float value) { return Float4GetDatum(value); });
  const int count = static_cast<int>(values.size());
  return PointerGetDatum(pg([&] { return construct_array(elements, count, FLOAT4OID, sizeof(float), true, TYPALIGN_INT); }));
}

}  // namespace imagecalc
