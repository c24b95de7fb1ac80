#include "pg/model_catalog.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "pg/datum.h"
#include "pg/visibility.h"

extern "C" {
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "nodes/makefuncs.h"
#include "utils/rls.h"
}

namespace imagecalc {
namespace {

// A version of a row: what it holds never changes. xmin alone would not do for a transaction that empties the table and fills
// it again.
struct RowVersion {
  Oid table;
  ItemPointerData place;
  TransactionId inserted;
  CommandId command;
};

bool operator==(const RowVersion& a, const RowVersion& b) {
  return a.table == b.table && ItemPointerEquals(const_cast<ItemPointer>(&a.place), const_cast<ItemPointer>(&b.place)) &&
         a.inserted == b.inserted && a.command == b.command;
}

constinit KeptQuery model_query(
    "SELECT tableoid, ctid, xmin, cmin, hash, input, mean, deviation, labels, engine, device, bf16_accuracy_loss "
    "FROM imagecalc.model WHERE name OPERATOR(pg_catalog.=) $1",
    TEXTOID);

RowVersion version_of(const TupleView& row) {
  return {.table = DatumGetObjectId(row.column("tableoid")),
          .place = *reinterpret_cast<ItemPointer>(DatumGetPointer(row.column("ctid"))),
          .inserted = DatumGetTransactionId(row.column("xmin")),
          .command = DatumGetCommandId(row.column("cmin"))};
}

// What calls pg is not called within pg: values are taken before they are detoasted.
ArrayType* array_of(const TupleView& row, const char* column) {
  const Datum value = row.column(column);
  return pg([&] { return DatumGetArrayTypeP(value); });
}

const struct varlena* bytes_of(const TupleView& row, const char* column) {
  const Datum value = row.column(column);
  return pg([&] { return PG_DETOAST_DATUM_PACKED(value); });
}

std::string_view text_of(const TupleView& row, const char* column) { return text_view(bytes_of(row, column)); }

std::array<float, 3> three_numbers(ArrayType* array) {
  std::array<float, 3> numbers;
  if (ARR_HASNULL(array) || ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) != 3)
    throw Error(Fault::internal, "a model's normalisation is not three numbers a channel");
  std::memcpy(numbers.data(), ARR_DATA_PTR(array), sizeof numbers);
  return numbers;
}

Model read_model(const std::string& name, const TupleView& row) {
  Model model;
  model.name = name;
  const struct varlena* hash = bytes_of(row, "hash");
  if (varlena_bytes(hash).size() != model.hash.size())
    throw Error(Fault::internal, "model \"" + name + "\" has a damaged hash");
  std::ranges::copy(varlena_bytes(hash), model.hash.begin());
  model.input = parse_model_input(text_of(row, "input"));
  model.normalisation = {three_numbers(array_of(row, "mean")), three_numbers(array_of(row, "deviation"))};
  model.labels = read_labels(array_of(row, "labels"));
  model.engine = parse_engine(text_of(row, "engine"));
  model.device = parse_device(text_of(row, "device"));
  if (const auto loss = row.nullable("bf16_accuracy_loss")) model.bf16_accuracy_loss = DatumGetFloat4(*loss);
  return model;
}

// The models that this session has used, as they were when their rows were read.
struct Known {
  RowVersion version;
  std::shared_ptr<const Model> model;
  std::optional<Visibility> seen_under;  // by the last query that found the row
};
constexpr std::size_t kMostKnown = 100;
std::map<std::string, Known, std::less<>> known_models;

Known* find_known(const std::string& name) {
  const auto found = known_models.find(name);
  return found == known_models.end() ? nullptr : &found->second;
}

// Whether the user sees all rows of the table that the snapshot has. Where only columns are granted the query has to tell.
bool sees_all_rows(Oid table) {
  return pg([&] {
    bool is_missing = false;
    return pg_class_aclcheck_ext(table, GetUserId(), ACL_SELECT, &is_missing) == ACLCHECK_OK &&
           check_enable_rls(table, InvalidOid, true) == RLS_NONE;
  });
}

// Locked to the end of the transaction, as by a query, and before anything is asked about it: what a transaction that has changed
// privileges or row security has left is then known. The user must have USAGE of its schema.
Oid lock_model_table() {
  return pg([] {
    return RangeVarGetRelid(makeRangeVar(pstrdup("imagecalc"), pstrdup("model"), -1), AccessShareLock, true);
  });
}

// What the row has, kept until another one takes its place.
std::shared_ptr<const Model> keep_model(const std::string& name, const TupleView& row, std::optional<Visibility> visibility) {
  if (row.empty()) return nullptr;
  const RowVersion version = version_of(row);
  if (Known* known = find_known(name); known && known->version == version) {
    known->seen_under = std::move(visibility);
    return known->model;
  }
  auto model = std::make_shared<const Model>(read_model(name, row));
  if (known_models.size() >= kMostKnown) known_models.clear();
  known_models[name] = {version, model, std::move(visibility)};
  return model;
}

[[noreturn]] void throw_no_model(const std::string& name) {
  throw Error(Fault::invalid_argument, "model \"" + name + "\" does not exist",
              "SELECT name FROM ic_models shows those that do; ic_import_model and ic_design make them.");
}

}  // namespace

std::shared_ptr<const Model> find_model(const std::string& name) {
  std::shared_ptr<const Model> model = look_up_model(name);
  if (!model) throw_no_model(name);
  return model;
}

std::shared_ptr<const Model> look_up_model(const std::string& name) {
  std::optional<Visibility> visibility = current_visibility();
  const Known* last = find_known(name);
  if (last && visibility && last->seen_under == visibility && sees_all_rows(last->version.table)) return last->model;
  const Oid table = lock_model_table();
  if (OidIsValid(table) && ActiveSnapshotSet() && sees_all_rows(table))
    return keep_model(name, KeyedRow(table, name).row(), std::move(visibility));
  return keep_model(name, KeptQuery::Answer(model_query, text_datum(name)).row(), std::move(visibility));
}

Blob read_model_bytes(const std::string& name) {
  SqlScope sql(SqlScope::As::caller);
  const Rows rows = sql.run("SELECT bytes FROM imagecalc.model WHERE name = $1", {name}, true);
  if (rows.empty()) throw_no_model(name);
  return rows[0].blob(0);
}

std::vector<std::string> read_labels(ArrayType* array) {
  Datum* elements;
  bool* nulls;
  int count;
  pg([&] { deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count); });
  std::vector<std::string> labels;
  for (int i = 0; i < count; ++i) {
    if (nulls[i]) throw Error(Fault::invalid_argument, "a label must not be NULL", "Give one label for each output, in order.");
    const text* element = pg([&] { return DatumGetTextPP(elements[i]); });
    labels.emplace_back(text_view(element));
  }
  return labels;
}

void insert_model(const Model& model, Oid owner, std::span<const std::uint8_t> bytes,
                  std::optional<std::int64_t> design) {
  SqlScope sql(SqlScope::As::superuser);
  const std::string statement =
      "INSERT INTO imagecalc.model (name, owner, input, labels, mean, deviation, hash, design, bytes, engine, "
      "device, bf16_accuracy_loss) VALUES ($1, $2::oid::regrole, $3, " + text_array_expression(model.labels) +
      ", $4::real[], $5::real[], $6, $7::bigint, $8, $9, $10, $11::real) ON CONFLICT (name) DO NOTHING RETURNING name";
  const Rows inserted = sql.run(
      statement.c_str(),
      {model.name, std::int64_t{owner}, to_string(model.input), array_literal(model.normalisation.mean),
       array_literal(model.normalisation.deviation), std::span<const std::uint8_t>(model.hash),
       design ? std::optional(std::to_string(*design)) : std::nullopt, bytes, to_string(model.engine), to_string(model.device),
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
