// imagecalc.model: the models that ic_infer can use.
#pragma once

#include <memory>
#include <optional>
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
  EngineChoice engine = EngineChoice::automatic;  // that its owner wants
  DeviceChoice device;                            // that its owner wants
  std::optional<double> bf16_accuracy_loss;       // 0..1; nothing where it was not measured
};

// Under the calling query's snapshot and the user's privileges. Takes a microsecond or two where no transaction has ended since
// the last call (visibility.h). Error(invalid_argument) where there is none.
std::shared_ptr<const Model> find_model(const std::string& name);
// The same; null where there is none.
std::shared_ptr<const Model> look_up_model(const std::string& name);
Blob read_model_bytes(const std::string& name);

// Labels as SQL has them. Error(invalid_argument) where one is NULL.
std::vector<std::string> read_labels(ArrayType* array);

// Inserts a model, owned by a role. Error(invalid_argument) where the name is taken.
void insert_model(const Model& model, Oid owner, std::span<const std::uint8_t> bytes,
                  std::optional<std::int64_t> design);

// Only inside a transaction.
ModelHash hash_model(std::span<const std::uint8_t> bytes);

// Reads a model's file on the server. The user must be a member of pg_read_server_files.
Blob read_model_file(const std::string& path);

// Whether the current user may act as the role. Nobody but a superuser may as one that was dropped.
bool may_act_as(Oid role);

}  // namespace imagecalc
