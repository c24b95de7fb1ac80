// ic_import_model, ic_set_engine, ic_set_device, ic_drop_model, ic_infer, ic_scores, ic_topk.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "codec/tensor.h"
#include "pg/datum.h"
#include "pg/infer_calls.h"
#include "pg/model_catalog.h"
#include "pg/scoring.h"

using namespace imagecalc;

namespace {

// ---- arguments that may be NULL: read before any C++ object lives

struct ImportArguments {
  const text* name;
  const struct varlena* model;  // a path, or bytes
  ArrayType* labels;
  const text* input;
  ArrayType* mean;
  ArrayType* deviation;
  const text* engine;
};

ImportArguments import_arguments(FunctionCallInfo fcinfo) {
  if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(3) || PG_ARGISNULL(6))
    throw Error(Fault::invalid_argument, "name, model, input and engine of ic_import_model must not be NULL",
                "Leave input and engine out to use their defaults.");
  return {PG_GETARG_TEXT_PP(0),
          PG_GETARG_VARLENA_PP(1),
          PG_ARGISNULL(2) ? nullptr : PG_GETARG_ARRAYTYPE_P(2),
          PG_GETARG_TEXT_PP(3),
          PG_ARGISNULL(4) ? nullptr : PG_GETARG_ARRAYTYPE_P(4),
          PG_ARGISNULL(5) ? nullptr : PG_GETARG_ARRAYTYPE_P(5),
          PG_GETARG_TEXT_PP(6)};
}

std::array<float, 3> triple(ArrayType* array, const char* what, std::array<float, 3> otherwise) {
  if (!array) return otherwise;
  if (ARR_NDIM(array) != 1 || ARR_DIMS(array)[0] != 3 || ARR_HASNULL(array))
    throw Error(Fault::invalid_argument, std::string(what) + " must have three numbers", "Give one for each channel.");
  std::array<float, 3> values;
  std::copy_n(reinterpret_cast<const float*>(ARR_DATA_PTR(array)), 3, values.begin());
  return values;
}

Normalisation normalisation(const ImportArguments& arguments, const ModelInput& input) {
  // Of ImageNet's pictures: what torchvision's models expect.
  constexpr std::array<float, 3> kImageNetMean{0.485f, 0.456f, 0.406f}, kImageNetDeviation{0.229f, 0.224f, 0.225f};
  const Normalisation usual = input.rgb ? Normalisation{kImageNetMean, kImageNetDeviation} : Normalisation{};
  const Normalisation given{triple(arguments.mean, "mean", usual.mean), triple(arguments.deviation, "deviation", usual.deviation)};
  for (std::size_t c = 0; c < 3; ++c)
    if (!std::isfinite(given.mean[c]) || !std::isfinite(given.deviation[c]) || given.deviation[c] <= 0)
      throw Error(Fault::invalid_argument, "mean must be finite and deviation above 0",
                  "Give those of the pictures that the model was trained on.");
  return given;
}

// Loads the model in the runner, runs it once on a tensor of its size, and checks that the labels are as many as its outputs.
void check_model(Model& model, Blob bytes) {
  // A native-size format fixes no tensor size; one block row of a small picture shows the number of outputs.
  const bool native = !model.input.rgb && model.input.format.size == 0;
  TensorSize size{};
  if (native) {
    const Geometry shape = geometry(model.input.format, 256, 256);
    size = {shape.tensor_height, shape.tensor_width};
  } else {
    size = tensor_size(model.input);
  }
  InspectModel request;
  request.bytes = std::move(bytes);
  request.shapes = {{static_cast<std::uint32_t>(size.height), static_cast<std::uint32_t>(size.width)}};
  const auto reply = ask_runner_for<InspectReply>(request);
  const InspectReply::Shape& shape = reply.shapes.at(0);
  if (shape.outputs == 0)
    throw Error(Fault::bad_model, "the model refuses a tensor of 3x" + std::to_string(size.height) + "x" + std::to_string(size.width) +
                    ": " + shape.refusal, "Name the input that it reads: input => 'rgb@SIZE' or a format.");
  if (model.labels.empty())
    for (std::uint32_t i = 0; i < shape.outputs; ++i) model.labels.push_back(std::to_string(i));
  if (model.labels.size() != shape.outputs)
    throw Error(Fault::invalid_argument, std::to_string(model.labels.size()) + " labels are given but the model has " +
                    std::to_string(shape.outputs) + " outputs", "Give one label for each output, in order.");
}

void import_model(const ImportArguments& arguments, const std::string& name, const Blob& bytes) {
  if (name.empty())
    throw Error(Fault::invalid_argument, "a model's name must not be empty", "Give it a name that ic_infer can use.");
  if (bytes.size() > kMaxModelBytes)
    throw Error(Fault::limit_exceeded, "the model has " + std::to_string(bytes.size()) + " bytes, more than 400 MB");
  Model model;
  model.name = name;
  model.input = parse_model_input(text_view(arguments.input));
  model.normalisation = normalisation(arguments, model.input);
  model.hash = hash_model(bytes);
  model.engine = parse_engine(text_view(arguments.engine));
  if (arguments.labels) model.labels = read_labels(arguments.labels);
  check_model(model, bytes);
  insert_model(model, GetUserId(), bytes, std::nullopt);
}

// ---- inference

struct Scored {
  std::shared_ptr<const Model> model;
  std::vector<float> scores;  // one a label, as the model gave them
};

Scored score(const text* model_name, const struct varlena* image, InferItem::Kind kind) {
  Scored result;
  result.model = find_model(std::string(text_view(model_name)));
  const Model& model = *result.model;
  const Bytes bytes = varlena_bytes(image);
  check_image(model, bytes, kind);
  InferRequest request = request_for(model);
  request.items.push_back({kind, Blob(bytes.begin(), bytes.end())});
  InferReply reply = PendingScores(std::move(request), [&] { return read_model_bytes(model.name); }).wait();
  if (!reply.failures.empty()) throw_failure(reply.failures[0]);
  check_reply(model, 1, reply);
  result.scores = std::move(reply.scores);
  return result;
}

Datum infer(FunctionCallInfo fcinfo, InferItem::Kind kind) {
  const text* model = PG_GETARG_TEXT_PP(0);
  const Scored scored = score(model, PG_GETARG_VARLENA_PP(1), kind);
  return best_label(*scored.model, scored.scores);
}

Datum scores(FunctionCallInfo fcinfo, InferItem::Kind kind) {
  const text* model = PG_GETARG_TEXT_PP(0);
  return probabilities(score(model, PG_GETARG_VARLENA_PP(1), kind).scores);
}

// ---- ic_topk

void return_best(ReturnSetInfo* result, const Model& model, std::span<const float> values, int count) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] > values[b]; });
  order.resize(std::min(order.size(), static_cast<std::size_t>(count)));
  for (const std::size_t index : order) {
    Datum row[2] = {text_datum(model.labels[index]), Float4GetDatum(values[index])};
    bool nulls[2] = {};
    pg([&] { tuplestore_putvalues(result->setResult, result->setDesc, row, nulls); });
  }
}

// Whether the planner has had the image's scores computed in batches, and put them in its place: see split_ranking.
bool is_scored(FunctionCallInfo fcinfo) { return get_fn_expr_argtype(fcinfo->flinfo, 1) == FLOAT4ARRAYOID; }

Datum top_of_scores(FunctionCallInfo fcinfo) {
  const text* name = PG_GETARG_TEXT_PP(0);
  ArrayType* scores = PG_GETARG_ARRAYTYPE_P(1);
  InitMaterializedSRF(fcinfo, 0);
  const std::shared_ptr<const Model> model = find_model(std::string(text_view(name)));
  const auto size = static_cast<std::size_t>(ArrayGetNItems(ARR_NDIM(scores), ARR_DIMS(scores)));
  if (size != model->labels.size()) throw Error(Fault::internal, "the scores are not those of model \"" + model->name + "\"");
  return_best(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo), *model,
              {reinterpret_cast<const float*>(ARR_DATA_PTR(scores)), size}, PG_GETARG_INT32(2));
  return Datum{0};
}

Datum top(FunctionCallInfo fcinfo, InferItem::Kind kind) {
  if (is_scored(fcinfo)) return top_of_scores(fcinfo);
  const text* name = PG_GETARG_TEXT_PP(0);
  const struct varlena* image = PG_GETARG_VARLENA_PP(1);
  const int count = PG_GETARG_INT32(2);
  InitMaterializedSRF(fcinfo, 0);
  check_label_count(count);
  const Scored scored = score(name, image, kind);
  return_best(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo), *scored.model, softmax(scored.scores), count);
  return Datum{0};
}

}  // namespace

IC_FUNCTION(ic_import_model_file) {
  const ImportArguments arguments = import_arguments(fcinfo);
  const std::string path(text_view(reinterpret_cast<const text*>(arguments.model)));
  import_model(arguments, std::string(text_view(arguments.name)), read_model_file(path));
  PG_RETURN_VOID();
}

IC_FUNCTION(ic_import_model_bytes) {
  const ImportArguments arguments = import_arguments(fcinfo);
  const Oid table = get_relname_relid("model", get_namespace_oid("imagecalc", false));
  if (pg_class_aclcheck(table, GetUserId(), ACL_INSERT) != ACLCHECK_OK)
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to import a model"),
                    errhint("A model is code. Grant INSERT on imagecalc.model to roles that are trusted with it.")));
  const Bytes bytes = varlena_bytes(arguments.model);
  import_model(arguments, std::string(text_view(arguments.name)), Blob(bytes.begin(), bytes.end()));
  PG_RETURN_VOID();
}

namespace {

void check_owner(const std::string& name) {
  Oid owner = InvalidOid;
  {
    SqlScope sql(SqlScope::As::superuser);
    const Rows rows = sql.run("SELECT owner::oid FROM imagecalc.model WHERE name = $1", {name});
    if (rows.empty())
      throw Error(Fault::invalid_argument, "model \"" + name + "\" does not exist",
                  "SELECT name FROM ic_models shows those that do.");
    owner = static_cast<Oid>(rows[0].integer(0));
  }
  if (may_act_as(owner)) return;
  const char* shown = name.c_str();
  pg([&] { ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be owner of model \"%s\"", shown),
                           errhint("Its owner, and members of that role, can change and remove it."))); });
}

// Sets one of its columns; for its owner.
void change_model(const text* model, const std::string& column, std::string_view value) {
  const std::string name(text_view(model));
  check_owner(name);
  SqlScope sql(SqlScope::As::superuser);
  sql.run(("UPDATE imagecalc.model SET " + column + " = $2 WHERE name = $1").c_str(), {name, value});
}

}  // namespace

IC_FUNCTION(ic_set_engine) {
  const text* model = PG_GETARG_TEXT_PP(0);
  const text* wanted = PG_GETARG_TEXT_PP(1);
  change_model(model, "engine", to_string(parse_engine(text_view(wanted))));
  PG_RETURN_VOID();
}

IC_FUNCTION(ic_set_device) {
  const text* model = PG_GETARG_TEXT_PP(0);
  const text* wanted = PG_GETARG_TEXT_PP(1);
  change_model(model, "device", to_string(parse_device(text_view(wanted))));
  PG_RETURN_VOID();
}

IC_FUNCTION(ic_drop_model) {
  const text* argument = PG_GETARG_TEXT_PP(0);
  const std::string name(text_view(argument));
  check_owner(name);
  SqlScope sql(SqlScope::As::superuser);
  sql.run("DELETE FROM imagecalc.model WHERE name = $1", {name});
  PG_RETURN_VOID();
}

IC_FUNCTION(ic_infer_value) { return infer(fcinfo, InferItem::Kind::value); }

IC_FUNCTION(ic_infer_picture) { return infer(fcinfo, InferItem::Kind::picture); }

IC_FUNCTION(ic_scores_value) { return scores(fcinfo, InferItem::Kind::value); }

IC_FUNCTION(ic_scores_picture) { return scores(fcinfo, InferItem::Kind::picture); }

IC_FUNCTION(ic_topk_value) { return top(fcinfo, InferItem::Kind::value); }

IC_FUNCTION(ic_topk_picture) { return top(fcinfo, InferItem::Kind::picture); }
