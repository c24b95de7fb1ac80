// imagecalc.predictions: what a design's trials so far tell of every format. Computed anew at each call from the candidates and
// the trials, so that it can never disagree with them.
#include "pg/datum.h"
#include "pg/design_store.h"
#include "pg/model_catalog.h"

using namespace imagecalc;

namespace {

enum Column {
  kFormat, kAccuracy, kLow, kHigh, kMeasured, kLatency, kFetch, kDecode, kTransfer, kModel, kLatencyMeasured, kBytes, kOnFrontier,
  kColumnCount
};

Datum real_datum(double value) { return Float4GetDatum(static_cast<float>(value)); }

void put_row(ReturnSetInfo* result, const CandidateRow& row, const Prediction& prediction, bool on_frontier) {
  Datum values[kColumnCount];
  bool nulls[kColumnCount] = {};
  values[kFormat] = text_datum(to_string(row.format));
  values[kAccuracy] = real_datum(prediction.accuracy);
  values[kLow] = real_datum(prediction.low);
  values[kHigh] = real_datum(prediction.high);
  values[kMeasured] = BoolGetDatum(prediction.measured);
  values[kLatency] = real_datum(row.latency.total());
  values[kFetch] = real_datum(row.latency.fetch);
  values[kDecode] = real_datum(row.latency.decode);
  values[kTransfer] = real_datum(row.latency.transfer);
  values[kModel] = real_datum(row.latency.model);
  values[kLatencyMeasured] = BoolGetDatum(row.latency_measured);
  values[kBytes] = real_datum(row.bytes);
  values[kOnFrontier] = BoolGetDatum(on_frontier);
  pg([&] { tuplestore_putvalues(result->setResult, result->setDesc, values, nulls); });
}

}  // namespace

IC_FUNCTION(ic_predictions) {
  const std::int64_t id = PG_GETARG_INT64(0);
  InitMaterializedSRF(fcinfo, 0);
  auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);

  const std::optional<Design> design = load_design(id);
  if (!design || !may_act_as(design->owner))
    throw Error(Fault::invalid_argument, "design " + std::to_string(id) + " does not exist, or is not yours",
                "SELECT id FROM ic_designs shows yours.");
  const std::vector<CandidateRow> candidates = load_candidates(id);
  if (candidates.empty()) return Datum{0};
  const Search search(search_candidates(candidates), design->search, design->budgets);
  const auto predictions = search.predict(search_trials(load_trials(id, candidates)));

  std::vector<std::size_t> known;
  std::vector<Objective> objectives;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (!predictions[i]) continue;
    known.push_back(i);
    objectives.push_back({predictions[i]->accuracy, candidates[i].latency.total(), candidates[i].bytes});
  }
  const std::vector<bool> on_frontier = pareto(objectives);
  for (std::size_t i = 0; i < known.size(); ++i)
    put_row(result, candidates[known[i]], *predictions[known[i]], on_frontier[i]);
  return Datum{0};
}
