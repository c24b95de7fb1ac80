// ic_design, ic_cancel, ic_resume: what runs in the user's session. Whatever can be known to be wrong is told here.
#include <algorithm>
#include <optional>

#include "codec/tensor.h"
#include "codec/value.h"
#include "pg/columns.h"
#include "pg/datum.h"
#include "pg/design_store.h"
#include "pg/design_worker.h"
#include "pg/model_catalog.h"
#include "pg/runner_client.h"
#include "pg/settings.h"

using namespace imagecalc;

namespace {

constexpr int kMaxLabels = 10'000;

// ---- arguments

// ic_design's arguments, in the order of its SQL declaration.
enum DesignArgument {
  kImages, kModel, kImageColumn, kLabelColumn, kSplitColumn, kLatency, kStorage, kMaxAccuracyLoss, kLatencyBatch, kSize, kEpochs,
  kTransferEpochs, kBuckets, kSampledBuckets, kTrialsPerBucket, kValidation, kMaxImages, kBatchSize, kSchedule, kLearningRate,
  kSeed, kExploreAll, kRgbReference, kCompressionLevel, kClassWeights, kAugmentation, kStem, kName, kDesignArgumentCount
};

const char* const kArgumentNames[kDesignArgumentCount] = {
    "images", "model", "image_column", "label_column", "split_column", "latency", "storage", "max_accuracy_loss", "latency_batch",
    "size", "epochs", "transfer_epochs", "buckets", "sampled_buckets", "trials_per_bucket", "validation", "max_images", "batch_size",
    "schedule", "learning_rate", "seed", "explore_all", "rgb_reference", "compression_level", "class_weights", "augmentation", "stem",
    "name"};

class Arguments {
 public:
  explicit Arguments(FunctionCallInfo fcinfo) : fcinfo_(fcinfo) {}

  bool null(DesignArgument which) const { return fcinfo_->args[which].isnull; }

  Datum required(DesignArgument which) const {
    if (null(which))
      throw Error(Fault::invalid_argument, std::string(kArgumentNames[which]) + " of ic_design must not be NULL",
                  "Leave the argument out to use its default, where it has one.");
    return fcinfo_->args[which].value;
  }
  std::string string(DesignArgument which) const {
    const Datum value = required(which);
    const struct varlena* detoasted = pg([&] { return DatumGetTextPP(value); });
    return std::string(text_view(detoasted));
  }
  std::optional<std::string> name(DesignArgument which) const {
    if (null(which)) return std::nullopt;
    return NameStr(*DatumGetName(fcinfo_->args[which].value));
  }
  int integer(DesignArgument which, int least, int most) const {
    const int value = DatumGetInt32(required(which));
    if (value < least || value > most)
      out_of_range(which, std::to_string(value), "from " + std::to_string(least) + " to " + std::to_string(most));
    return value;
  }
  // Strictly between 0 and the limit.
  double positive(DesignArgument which, int below) const {
    const double value = DatumGetFloat8(required(which));
    if (!(value > 0 && value < below))
      out_of_range(which, std::to_string(value), "above 0 and below " + std::to_string(below));
    return value;
  }

 private:
  [[noreturn]] static void out_of_range(DesignArgument which, const std::string& value, const std::string& range) {
    throw Error(Fault::invalid_argument, std::string(kArgumentNames[which]) + " " + value + " is out of range",
                "Choose one " + range + ".");
  }

  FunctionCallInfo fcinfo_;
};

Budgets read_budgets(const Arguments& arguments) {
  Budgets budgets;
  if (!arguments.null(kLatency)) {
    const Interval* latency = DatumGetIntervalP(arguments.required(kLatency));
    if (latency->month != 0 || latency->day != 0 || latency->time <= 0)
      throw Error(Fault::invalid_argument, "latency must be a time above 0, in units below a day", "Write latency => '2ms'.");
    budgets.latency_us = static_cast<double>(latency->time);
  }
  if (!arguments.null(kStorage)) {
    const std::int64_t bytes = DatumGetInt64(arguments.required(kStorage));
    if (bytes <= 0) throw Error(Fault::invalid_argument, "storage must be above 0", "It is the mean bytes of a value: storage => 2000.");
    budgets.bytes = static_cast<double>(bytes);
  }
  if (!arguments.null(kMaxAccuracyLoss)) {
    const double loss = DatumGetFloat8(arguments.required(kMaxAccuracyLoss));
    if (!(loss >= 0 && loss < 1))
      throw Error(Fault::invalid_argument, "max_accuracy_loss must be from 0 up to, not including, 1",
                  "0.01 allows one point less than the same model trained on RGB.");
    budgets.max_accuracy_loss = loss;
  }
  if (!budgets.latency_us && !budgets.bytes && !budgets.max_accuracy_loss)
    throw Error(Fault::invalid_argument, "a design needs a budget",
                "Give at least one of latency => '2ms', storage => 2000 (bytes an image) and max_accuracy_loss => 0.01.");
  return budgets;
}

void read_settings(const Arguments& arguments, Design& design) {
  design.latency_batch = arguments.integer(kLatencyBatch, 1, 1024);
  design.size = arguments.integer(kSize, kSizeStep, kMaxSize);
  if (design.size % kSizeStep)
    throw Error(Fault::invalid_argument, "size " + std::to_string(design.size) + " is not a multiple of 8",
                "Choose one such as 64, 128 or 256.");
  design.epochs = arguments.integer(kEpochs, 1, 100'000);
  design.transfer_epochs = arguments.integer(kTransferEpochs, 1, 100'000);
  design.search.buckets = arguments.integer(kBuckets, 2, 1000);
  design.search.sampled_buckets = arguments.integer(kSampledBuckets, 2, design.search.buckets);
  design.search.trials_per_bucket = arguments.integer(kTrialsPerBucket, 1, 1000);
  design.validation = arguments.positive(kValidation, 1);
  design.max_images = arguments.integer(kMaxImages, 10, 100'000'000);
  design.batch_size = arguments.integer(kBatchSize, 2, 65'536);
  const std::string schedule = arguments.string(kSchedule);
  if (schedule != "one-cycle" && schedule != "constant")
    throw Error(Fault::invalid_argument, "schedule \"" + schedule + "\" is unknown", "Choose one-cycle or constant.");
  design.one_cycle = schedule == "one-cycle";
  const std::string class_weights = arguments.string(kClassWeights);
  if (class_weights != "none" && class_weights != "balanced")
    throw Error(Fault::invalid_argument, "class_weights \"" + class_weights + "\" is unknown", "Choose none or balanced.");
  design.balanced = class_weights == "balanced";
  design.augmentation = parse_augmentation(arguments.string(kAugmentation));
  const std::string stem = arguments.string(kStem);
  if (stem != "none" && stem != "auto") throw Error(Fault::invalid_argument, "stem \"" + stem + "\" is unknown", "Choose none or auto.");
  design.try_stems = stem == "auto";
  design.learning_rate = arguments.positive(kLearningRate, 1000);
  design.seed = static_cast<std::uint64_t>(DatumGetInt64(arguments.required(kSeed)));
  design.search.explore_all = DatumGetBool(arguments.required(kExploreAll));
  design.search.train_reference = DatumGetBool(arguments.required(kRgbReference));
  design.compression_level = setting_compression_level;
  if (!arguments.null(kCompressionLevel)) {
    design.compression_level = arguments.integer(kCompressionLevel, kMinCompressionLevel, kMaxCompressionLevel);
  }
}

// ---- the relation and its columns

void check_image_column(const std::vector<Column>& columns, const Column& image) {
  if (image.type == "bytea") return;
  for (const Column& column : columns)
    if (column.name == image.name && column.type.ends_with("icimage"))
      throw Error(Fault::invalid_argument, "column \"" + image.name + "\" is icimage already",
                  "A design needs the pictures: run it on a column of JPEG files, type bytea.");
  throw Error(Fault::invalid_argument, "column \"" + image.name + "\" has type " + image.type + ", but pictures are bytea",
              "Name the column of JPEG files with image_column => '...'.");
}

// As the caller: who may not read the table may not design on it.
void find_columns(const Arguments& arguments, Design& design) {
  const Oid oid = DatumGetObjectId(arguments.required(kImages));
  SqlScope sql(SqlScope::As::caller);
  const Rows relation = sql.run("SELECT oid::regclass::text, relkind, relpersistence = 't' FROM pg_class WHERE oid = $1::oid",
                                {std::int64_t{oid}});
  if (relation.empty())
    throw Error(Fault::invalid_argument, "relation " + std::to_string(oid) + " does not exist", "Name a table or view.");
  design.relation = relation[0].text(0);
  if (std::string_view("rpmvf").find(relation[0].text(1)) == std::string_view::npos)
    throw Error(Fault::invalid_argument, design.relation + " is not a table or view", "Name a table or view.");
  if (relation[0].boolean(2))
    throw Error(Fault::invalid_argument, design.relation + " is temporary: only this session can read it",
                "Copy the pictures to a table that the design's worker can read, too.");

  const std::vector<Column> columns = list_columns(sql, design.relation);
  design.split_column = arguments.name(kSplitColumn);
  if (design.split_column) pick_column(columns, design.split_column, "split_column", "split", [](const Column&) { return false; });
  const bool has_bytea = std::any_of(columns.begin(), columns.end(), [](const Column& c) { return c.type == "bytea"; });
  const Column image = pick_column(columns, arguments.name(kImageColumn), "image_column", "bytea", [&](const Column& column) {
    return column.type == "bytea" || (!has_bytea && column.type.ends_with("icimage"));
  });
  check_image_column(columns, image);
  design.image_column = image.name;
  const Column label = pick_column(columns, arguments.name(kLabelColumn), "label_column", "text", [&](const Column& column) {
    return column.is_text() && column.name != design.split_column;
  });
  if (label.type == "bytea")
    throw Error(Fault::invalid_argument, "column \"" + label.name + "\" has type bytea, but labels are text",
                "Name the column of labels with label_column => '...'.");
  design.label_column = label.name;
}

void find_labels(Design& design) {
  SqlScope sql(SqlScope::As::caller);
  const std::string column = quote_name(design.label_column);
  const std::string query = "SELECT DISTINCT " + column + "::text COLLATE \"C\" AS label FROM " + design.relation + " WHERE " + column +
                            " IS NOT NULL AND " + quote_name(design.image_column) + " IS NOT NULL ORDER BY label LIMIT " +
                            std::to_string(kMaxLabels + 1);
  for (const Row& row : sql.run(query.c_str(), {}, true)) design.labels.push_back(row.text(0));
  if (design.labels.size() < 2)
    throw Error(Fault::invalid_argument, "column \"" + design.label_column + "\" has " + std::to_string(design.labels.size()) +
                    " distinct labels in rows with a picture", "A model tells at least two labels apart.");
  if (design.labels.size() > kMaxLabels)
    throw Error(Fault::limit_exceeded, "column \"" + design.label_column + "\" has more than " + std::to_string(kMaxLabels) +
                    " distinct labels", "Name the column of labels with label_column => '...'.");
}

// ---- the model

Blob read_model(const std::string& model) {
  {
    SqlScope sql(SqlScope::As::caller);
    const Rows rows = sql.run("SELECT bytes FROM imagecalc.model WHERE name = $1", {model}, true);
    if (!rows.empty()) return rows[0].blob(0);
  }
  return read_model_file(model);
}

// Tensor sizes to try a model on: what the design space of that size holds, from the largest down.
std::vector<TensorShape> shapes_to_try(int size) {
  std::vector<TensorShape> shapes;
  for (int edge = size; edge >= 8; edge /= 2) shapes.push_back({static_cast<std::uint32_t>(edge), static_cast<std::uint32_t>(edge)});
  return shapes;
}

void check_model(const Design& design, const Blob& model) {
  if (model.size() > kMaxModelBytes) throw Error(Fault::limit_exceeded, "the model is larger than 400 MB");
  const auto reply = ask_runner_for<InspectReply>(InspectModel{model, shapes_to_try(design.size), design.try_stems});
  if (reply.onnx)
    throw Error(Fault::bad_model, "an ONNX model cannot be trained",
                "Give the network as TorchScript: torch.jit.script(model).save(path).");
  const InspectReply::Shape* accepted = nullptr;
  for (const InspectReply::Shape& shape : reply.shapes)
    if (!accepted && shape.outputs > 0) accepted = &shape;
  if (!accepted)
    throw Error(Fault::bad_model, "the model refuses every tensor size that was tried: " + reply.shapes.at(0).refusal,
                "It must take float tensors [n,3,height,width] of the formats' sizes.");
  if (accepted->outputs != design.labels.size())
    throw Error(Fault::bad_model, "the model has " + std::to_string(accepted->outputs) + " outputs but column \"" +
                    design.label_column + "\" has " + std::to_string(design.labels.size()) + " distinct labels",
                "The outputs must be as many as the labels.");
  if (reply.parameters == 0)
    throw Error(Fault::bad_model, "the model has no parameters to train: it is frozen",
                "Export it with torch.jit.script(model), without torch.jit.freeze.");
  if (!reply.learns_statistics)
    throw Error(Fault::bad_model, "the model's batch norm does not learn: it was traced in evaluation mode",
                "Export it with torch.jit.script(model) instead of torch.jit.trace.");
  if (!reply.stem_refusal.empty())
    throw Error(Fault::bad_model, reply.stem_refusal,
                "Use stem => 'none', or a model whose first layer is a torch.nn.Conv2d over the 3 channels of its input.");
}

void choose_name(const Arguments& arguments, Design& design) {
  if (arguments.null(kName)) return;  // made of the table's name and the id
  design.model_name = arguments.string(kName);
  if (design.model_name.empty())
    throw Error(Fault::invalid_argument, "a model's name must not be empty", "Leave name out to have it made of the table's.");
}

void name_after_table(Design& design, std::int64_t id) {
  if (!design.model_name.empty()) return;
  SqlScope sql(SqlScope::As::superuser);
  design.model_name = sql.run("UPDATE imagecalc.design AS d SET model_name = c.relname || '_' || d.id FROM pg_class AS c "
                              "WHERE d.id = $1 AND c.oid = to_regclass(d.relation) RETURNING model_name", {id}).at(0).text(0);
}

// Known now, a name that is taken, or about to be, costs no training.
void check_names_are_free(const Design& design, std::int64_t id) {
  std::vector<std::string> names{design.model_name};
  if (design.search.train_reference || design.budgets.max_accuracy_loss) names.push_back(design.model_name + "_rgb");
  SqlScope sql(SqlScope::As::superuser);
  for (const std::string& name : names) {
    const Rows taken = sql.run("SELECT FROM imagecalc.model WHERE name = $1 UNION ALL SELECT FROM imagecalc.design "
                               "WHERE model_name = $1 AND id <> $2 AND state IN ('queued', 'running')", {name, id});
    if (!taken.empty())
      throw Error(Fault::invalid_argument, "model \"" + name + "\" already exists, or a design is about to make it",
                  "Choose another name for the design's model, name => '...', or remove that one with ic_drop_model.");
  }
}

void check_owner(std::int64_t id) {
  if (may_act_as(design_owner(id))) return;
  pg([&] {
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                    errmsg("must be owner of design %lld", static_cast<long long>(id)),
                    errhint("SELECT id FROM ic_designs shows yours.")));
  });
}

}  // namespace

IC_FUNCTION(ic_design) {
  const Arguments arguments(fcinfo);
  Design design;
  design.budgets = read_budgets(arguments);
  read_settings(arguments, design);
  design.owner = GetUserId();
  find_columns(arguments, design);
  choose_name(arguments, design);
  find_labels(design);
  const Blob model = read_model(arguments.string(kModel));
  check_model(design, model);
  const std::int64_t id = insert_design(design, model);
  name_after_table(design, id);
  check_names_are_free(design, id);
  start_design_worker(id);
  return Int64GetDatum(id);
}

IC_FUNCTION(ic_cancel) {
  const std::int64_t id = PG_GETARG_INT64(0);
  check_owner(id);
  SqlScope sql(SqlScope::As::superuser);
  // With the row locked no worker can begin meanwhile. One that is at work is interrupted, and says itself that it was
  // cancelled; where there is none, it is said here.
  sql.run("SELECT FROM imagecalc.design WHERE id = $1 FOR UPDATE", {id});
  const Row worker = sql.run("SELECT pg_cancel_backend(imagecalc.worker_of($1))", {id}).at(0);
  if (worker.null(0))
    sql.run("UPDATE imagecalc.design SET state = 'cancelled', error = NULL, finished_at = clock_timestamp() "
            "WHERE id = $1 AND state IN ('queued', 'running')", {id});
  PG_RETURN_VOID();
}

IC_FUNCTION(ic_resume) {
  const std::int64_t id = PG_GETARG_INT64(0);
  check_owner(id);
  {
    SqlScope sql(SqlScope::As::superuser);
    const Rows rows = sql.run("SELECT imagecalc.state_of(id, state) FROM imagecalc.design WHERE id = $1 FOR UPDATE", {id});
    const std::string state = rows.at(0).text(0);
    // One that is queued may have lost its worker; a second worker leaves at once where the first is there.
    if (state == "done" || state == "running")
      throw Error(Fault::invalid_argument, "design " + std::to_string(id) + " is " + state,
                  state == "done" ? "SELECT * FROM ic_designs shows what it found." : "SELECT * FROM ic_progress shows where it stands.");
    sql.run("UPDATE imagecalc.design SET state = 'queued', phase = 'waiting to start', step = NULL, steps = NULL, eta = NULL, "
            "error = NULL, finished_at = NULL WHERE id = $1", {id});
  }
  start_design_worker(id);
  PG_RETURN_VOID();
}

IC_FUNCTION(ic_drop_design) {
  const std::int64_t id = PG_GETARG_INT64(0);
  check_owner(id);
  SqlScope sql(SqlScope::As::superuser);
  sql.run("SELECT FROM imagecalc.design WHERE id = $1 FOR UPDATE", {id});
  if (!sql.run("SELECT imagecalc.worker_of($1)", {id}).at(0).null(0))
    throw Error(Fault::invalid_argument, "design " + std::to_string(id) + " is running", "Stop it with ic_cancel first.");
  sql.run("DELETE FROM imagecalc.design WHERE id = $1", {id});
  PG_RETURN_VOID();
}

IC_FUNCTION(ic_format_text) {
  return text_datum(to_string(unpack(static_cast<std::uint32_t>(PG_GETARG_INT32(0)))));
}
