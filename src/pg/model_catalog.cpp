#include "pg/model_catalog.h"

#include <sys/stat.h>

#include "pg/datum.h"

extern "C" {
#include "common/cryptohash.h"
#include "common/sha2.h"
}

namespace imagecalc {
namespace {

// SQL takes the array apart: labels may hold any character, and SQL knows how an array quotes it.
std::vector<std::string> read_labels(SqlScope& sql, const std::string& name) {
  std::vector<std::string> labels;
  for (const Row& row : sql.run("SELECT l.label FROM imagecalc.model AS m, unnest(m.labels) WITH ORDINALITY AS l(label, place) "
                                "WHERE m.name = $1 ORDER BY l.place",
                                {name}, true))
    labels.push_back(row.text(0));
  return labels;
}

[[noreturn]] void throw_no_model(const std::string& name) {
  throw Error(Fault::invalid_argument, "model \"" + name + "\" does not exist",
              "SELECT name FROM ic_models shows those that do; ic_import_model and ic_design make them.");
}

}  // namespace

Model find_model(const std::string& name) {
  std::optional<Model> model = look_up_model(name);
  if (!model) throw_no_model(name);
  return std::move(*model);
}

std::optional<Model> look_up_model(const std::string& name) {
  SqlScope sql(SqlScope::As::caller);
  const Rows rows = sql.run("SELECT hash, input, mean[1], mean[2], mean[3], deviation[1], deviation[2], deviation[3], "
                            "engine, bf16_accuracy_loss FROM imagecalc.model WHERE name = $1", {name}, true);
  if (rows.empty()) return std::nullopt;
  Model model;
  model.name = name;
  const auto hash = rows[0].bytes(0);
  if (hash.size() != model.hash.size()) throw Error(Fault::internal, "model \"" + name + "\" has a damaged hash");
  std::copy(hash.begin(), hash.end(), model.hash.begin());
  model.input = parse_model_input(rows[0].text(1));
  for (std::size_t c = 0; c < 3; ++c) {
    model.normalisation.mean[c] = static_cast<float>(rows[0].real(2 + c));
    model.normalisation.deviation[c] = static_cast<float>(rows[0].real(5 + c));
  }
  model.engine = parse_engine(rows[0].text(8));
  if (!rows[0].null(9)) model.bf16_accuracy_loss = rows[0].real(9);
  model.labels = read_labels(sql, name);
  return model;
}

Blob read_model_bytes(const std::string& name) {
  SqlScope sql(SqlScope::As::caller);
  const Rows rows = sql.run("SELECT bytes FROM imagecalc.model WHERE name = $1", {name}, true);
  if (rows.empty()) throw_no_model(name);
  return rows[0].blob(0);
}

void insert_model(const Model& model, Oid owner, std::span<const std::uint8_t> bytes,
                  std::optional<std::int64_t> design) {
  SqlScope sql(SqlScope::As::superuser);
  const std::string statement =
      "INSERT INTO imagecalc.model (name, owner, input, labels, mean, deviation, hash, design, bytes, engine, "
      "bf16_accuracy_loss) VALUES ($1, $2::oid::regrole, $3, " + text_array_expression(model.labels) +
      ", $4::real[], $5::real[], $6, $7::bigint, $8, $9, $10::real) ON CONFLICT (name) DO NOTHING RETURNING name";
  const Rows inserted = sql.run(
      statement.c_str(),
      {model.name, std::int64_t{owner}, to_string(model.input), array_literal(model.normalisation.mean),
       array_literal(model.normalisation.deviation), std::span<const std::uint8_t>(model.hash),
       design ? std::optional(std::to_string(*design)) : std::nullopt, bytes, to_string(model.engine),
       model.bf16_accuracy_loss});
  if (inserted.empty())
    throw Error(Fault::invalid_argument, "model \"" + model.name + "\" already exists",
                "Choose another name, or remove it with ic_drop_model.");
}

ModelHash hash_model(std::span<const std::uint8_t> bytes) {
  ModelHash hash;
  const bool done = pg([&] {
    pg_cryptohash_ctx* context = pg_cryptohash_create(PG_SHA256);
    const bool well = context && pg_cryptohash_init(context) >= 0 &&
                      pg_cryptohash_update(context, bytes.data(), bytes.size()) >= 0 &&
                      pg_cryptohash_final(context, hash.data(), hash.size()) >= 0;
    if (context) pg_cryptohash_free(context);
    return well;
  });
  if (!done) throw Error(Fault::internal, "could not compute SHA-256 of a model");
  return hash;
}

Blob read_model_file(const std::string& path) {
  if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES)) {
    const char* shown = path.c_str();
    pg([&] {
      ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to read model file \"%s\"", shown),
                      errhint("Only members of pg_read_server_files may name a file on the server, since TorchScript is code. "
                              "Ask one to import the model, and use it by name.")));
    });
  }
  const char* name = path.c_str();
  FILE* file = pg([&] { return AllocateFile(name, "rb"); });
  if (!file)
    throw Error(Fault::invalid_argument, "could not open model file \"" + path + "\": " + strerror(errno),
                "The file must be readable by the server; a relative path starts at its data directory, " +
                    std::string(DataDir) + ". SELECT name FROM ic_models shows the imported models.");
  struct stat status;
  Blob bytes;
  std::string problem;
  if (fstat(fileno(file), &status) != 0 || !S_ISREG(status.st_mode)) {
    problem = "\"" + path + "\" is not a regular file";
  } else if (static_cast<std::size_t>(status.st_size) > kMaxModelBytes) {
    problem = "model file \"" + path + "\" is larger than " + std::to_string(kMaxModelBytes) + " bytes";
  } else {
    bytes.resize(static_cast<std::size_t>(status.st_size));
    if (fread(bytes.data(), 1, bytes.size(), file) != bytes.size()) problem = "could not read model file \"" + path + "\"";
  }
  pg([&] { FreeFile(file); });
  if (!problem.empty()) throw Error(Fault::invalid_argument, problem, "Give a TorchScript or ONNX file of at most 400 MB.");
  return bytes;
}

bool may_act_as(Oid role) {
  return pg([&] { return superuser() || has_privs_of_role(GetUserId(), role); });
}

}  // namespace imagecalc
