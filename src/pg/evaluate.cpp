// imagecalc.outcomes: what a model says of pictures whose labels are known. ic_evaluate and ic_confusion add it up.
#include <algorithm>
#include <charconv>
#include <map>

#include "pg/columns.h"
#include "pg/datum.h"
#include "pg/model_catalog.h"

using namespace imagecalc;

namespace {

constexpr std::size_t kTop = 5;

enum EvaluateArgument { kModel, kRelation, kImageColumn, kLabelColumn, kCondition };

// Of the pictures of one label that get another one.
struct Count {
  std::int64_t images = 0;
  std::int64_t in_top = 0;  // whose own label is among the kTop best
};
using Outcomes = std::map<std::pair<std::string, std::string>, Count>;  // by label and predicted label

std::optional<std::string> optional_text(FunctionCallInfo fcinfo, EvaluateArgument which) {
  if (fcinfo->args[which].isnull) return std::nullopt;
  const text* value = pg([&] { return DatumGetTextPP(fcinfo->args[which].value); });
  return std::string(text_view(value));
}

std::optional<std::string> optional_name(FunctionCallInfo fcinfo, EvaluateArgument which) {
  if (fcinfo->args[which].isnull) return std::nullopt;
  return NameStr(*DatumGetName(fcinfo->args[which].value));
}

// {0.25,NaN}: the numbers of an array.
std::vector<float> parse_scores(const std::string& array) {
  std::vector<float> scores;
  for (const char *at = array.data() + 1, *end = array.data() + array.size(); at < end;) {
    float score = 0;
    const auto [stop, error] = std::from_chars(at, end, score);
    if (error != std::errc()) break;
    scores.push_back(score);
    at = stop + 1;
  }
  return scores;
}

// The labels and scores of the pictures that meet the condition.
std::string query_for(SqlScope& sql, FunctionCallInfo fcinfo, const std::string& model) {
  const Oid oid = DatumGetObjectId(fcinfo->args[kRelation].value);
  const std::string relation = sql.run("SELECT $1::oid::regclass::text", {std::int64_t{oid}}).at(0).text(0);
  const std::vector<Column> columns = list_columns(sql, relation);
  const bool has_values = std::any_of(columns.begin(), columns.end(), [](const Column& column) { return column.is_value(); });
  const Column image = pick_column(columns, optional_name(fcinfo, kImageColumn), "image_column", "icimage or bytea",
                                   [&](const Column& column) { return has_values ? column.is_value() : column.type == "bytea"; });
  const Column label = pick_column(columns, optional_name(fcinfo, kLabelColumn), "label_column", "text",
                                   [](const Column& column) { return column.is_text(); });
  const std::string picture = quote_name(image.name), truth = quote_name(label.name);
  const std::optional<std::string> condition = optional_text(fcinfo, kCondition);
  // The condition is the caller's own SQL, run as the caller: the line's end is for one that ends in a comment.
  return "SELECT " + truth + "::text, " + extension_schema(sql) + ".ic_scores(" + quote_text(model) + ", " + picture +
         ") FROM " + relation + " WHERE " + picture + " IS NOT NULL AND " + truth + " IS NOT NULL" +
         (condition ? " AND (" + *condition + "\n)" : "");
}

void add(Outcomes& outcomes, const Model& model, const std::string& label, const std::vector<float>& scores) {
  if (scores.size() != model.labels.size()) throw Error(Fault::internal, "the scores are not those of model \"" + model.name + "\"");
  const auto best = std::max_element(scores.begin(), scores.end()) - scores.begin();
  Count& count = outcomes[{label, model.labels[static_cast<std::size_t>(best)]}];
  ++count.images;
  const auto own = std::find(model.labels.begin(), model.labels.end(), label);
  if (own == model.labels.end()) return;
  const float score = scores[static_cast<std::size_t>(own - model.labels.begin())];
  const auto better = std::count_if(scores.begin(), scores.end(), [&](float other) { return other > score; });
  count.in_top += static_cast<std::size_t>(better) < kTop;
}

Outcomes evaluate(FunctionCallInfo fcinfo) {
  const std::string name = optional_text(fcinfo, kModel).value();
  const std::shared_ptr<const Model> model = find_model(name);
  Outcomes outcomes;
  SqlScope sql(SqlScope::As::caller);
  sql.each(query_for(sql, fcinfo, name).c_str(),
           [&](Row&& row) { add(outcomes, *model, row.text(0), parse_scores(row.text(1))); });
  return outcomes;
}

}  // namespace

IC_FUNCTION(ic_outcomes) {
  for (EvaluateArgument required : {kModel, kRelation}) {
    if (fcinfo->args[required].isnull)
      throw Error(Fault::invalid_argument, "the model and the relation must not be NULL", "SELECT * FROM ic_evaluate('model', 'table').");
  }
  InitMaterializedSRF(fcinfo, 0);
  auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  for (const auto& [labels, count] : evaluate(fcinfo)) {
    Datum row[] = {text_datum(labels.first), text_datum(labels.second), Int64GetDatum(count.images), Int64GetDatum(count.in_top)};
    bool nulls[4] = {};
    pg([&] { tuplestore_putvalues(result->setResult, result->setDesc, row, nulls); });
  }
  return Datum{0};
}
