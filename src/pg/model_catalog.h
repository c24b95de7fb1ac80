// imagecalc.model: the models that ic_infer can use.
#pragma once

#include <string>
#include <vector>

#include "pg/sql.h"
#include "protocol/messages.h"

namespace imagecalc {

struct Model {
  std::string name;
  ModelHash hash{};
  ModelInput input;
  Normalisation normalisation;
  std::vector<std::string> labels;
};

// Under the calling query's snapshot and the user's privileges. Error(invalid_argument) where there is none.
Model find_model(const std::string& name);
Blob read_model_bytes(const std::string& name);

// Inserts a model, owned by a role. Error(invalid_argument) where the name is taken.
void insert_model(const Model& model, Oid owner, std::span<const std::uint8_t> bytes,
                  std::optional<std::int64_t> design);

// Only inside a transaction.
ModelHash hash_model(std::span<const std::uint8_t> bytes);

// Reads a TorchScript file on the server. The user must be a member of pg_read_server_files.
Blob read_model_file(const std::string& path);

// Scores of images by a model, [items][labels]; the runner gets the model's bytes from `bytes` where it lacks them.
template <typename BytesOf>
InferReply infer(const InferRequest& request, BytesOf&& bytes_of);

// Whether the current user may act as the role. Nobody but a superuser may as one that was dropped.
bool may_act_as(Oid role);

}  // namespace imagecalc

#include "pg/runner_client.h"

template <typename BytesOf>
imagecalc::InferReply imagecalc::infer(const InferRequest& request, BytesOf&& bytes_of) {
  constexpr int kTries = 5;  // others may push the model out of a small cache before it is used
  for (int i = 0; i < kTries; ++i) {
    Message reply = ask_runner(request);
    if (auto* scores = std::get_if<InferReply>(&reply)) return std::move(*scores);
    if (!std::holds_alternative<NeedModel>(reply)) throw Error(Fault::protocol, "unexpected reply from imagecalc-runner");
    ask_runner_for<Done>(LoadModel{request.model, bytes_of()});
  }
  throw Error(Fault::limit_exceeded, "imagecalc-runner's cache is too small for the models in use", "Use fewer models at a time.");
}
