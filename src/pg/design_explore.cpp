// imagecalc.predictions: the table behind ic_explore, ic_frontier and ic_candidates.
#include "pg/datum.h"
#include "pg/design_findings.h"

using namespace imagecalc;

namespace {

enum Column {
  kFormat, kAccuracy, kLow, kHigh, kMeasured, kLatency, kFetch, kDecode, kTransfer, kModel, kLatencyMeasured, kBytes,
  kBytesDeviation, kOnFrontier, kRefusal, kColumnCount
};

Datum real_datum(double value) { return Float4GetDatum(static_cast<float>(value)); }

// Without a prediction: a format that may not be chosen, or of which nothing is known yet.
void put_row(ReturnSetInfo* result, const CandidateRow& row, const std::optional<Prediction>& prediction, bool on_frontier) {
  Datum values[kColumnCount];
  bool nulls[kColumnCount] = {};
  values[kFormat] = text_datum(to_string(row.format));
  if (prediction) {
    values[kAccuracy] = real_datum(prediction->accuracy);
    values[kLow] = real_datum(prediction->low);
    values[kHigh] = real_datum(prediction->high);
  } else {
    nulls[kAccuracy] = nulls[kLow] = nulls[kHigh] = true;
  }
  values[kMeasured] = BoolGetDatum(prediction && prediction->measured);
  values[kLatency] = real_datum(row.latency.total());
  values[kFetch] = real_datum(row.latency.fetch);
  values[kDecode] = real_datum(row.latency.decode);
  values[kTransfer] = real_datum(row.latency.transfer);
  values[kModel] = real_datum(row.latency.model);
  values[kLatencyMeasured] = BoolGetDatum(row.latency_measured);
  values[kBytes] = real_datum(row.bytes);
  values[kBytesDeviation] = real_datum(row.bytes_deviation);
  values[kOnFrontier] = BoolGetDatum(on_frontier);
  nulls[kRefusal] = !row.refusal;
  if (row.refusal) values[kRefusal] = text_datum(*row.refusal);
  pg([&] { tuplestore_putvalues(result->setResult, result->setDesc, values, nulls); });
}

}  // namespace

IC_FUNCTION(ic_predictions) {
  const std::int64_t id = PG_GETARG_INT64(0);
  InitMaterializedSRF(fcinfo, 0);
  auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  const Findings findings = load_findings(id);
  if (findings.candidates.empty()) return Datum{0};
  const std::vector<bool> on_frontier = frontier_of(findings);
  for (std::size_t i = 0; i < findings.candidates.size(); ++i)
    put_row(result, findings.candidates[i], findings.predictions[i], on_frontier[i]);
  return Datum{0};
}
