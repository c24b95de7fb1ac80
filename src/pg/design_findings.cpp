#include "pg/design_findings.h"

#include <algorithm>

#include "pg/model_catalog.h"

using namespace imagecalc;

namespace imagecalc {

Design load_own_design(std::int64_t id) {
  std::optional<Design> design = load_design(id);
  if (design && may_act_as(design->owner)) return std::move(*design);
  throw Error(Fault::invalid_argument, "design " + std::to_string(id) + " does not exist, or is not yours",
              "SELECT id FROM ic_designs shows yours.");
}

Findings load_findings(std::int64_t id) {
  Findings findings{.design = load_own_design(id), .candidates = load_candidates(id), .trials = {}};
  findings.trials = load_trials(id, findings.candidates);
  return findings;
}

std::string name_of(const Format& format, bool stem) { return to_string(format) + (stem ? " + stem" : ""); }

const TrialRow* chosen_trial(const Findings& findings) {
  const auto found = std::find_if(findings.trials.begin(), findings.trials.end(),
                                  [&](const TrialRow& row) { return row.trial.number == findings.design.chosen; });
  return found == findings.trials.end() ? nullptr : &*found;
}

void predict(const Design& design, const std::vector<TrialRow>& trials, std::vector<CandidateRow>& candidates) {
  const Search search(search_candidates(candidates), design.search, design.budgets);
  const auto predictions = search.predict(search_trials(trials));
  std::vector<CandidateRow*> known;
  std::vector<Objective> objectives;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    CandidateRow& row = candidates[i];
    row.prediction = predictions[i];
    row.on_frontier = false;
    if (!row.prediction) continue;
    known.push_back(&row);
    objectives.push_back({row.prediction->accuracy, row.latency.total(), row.bytes});
  }
  const std::vector<bool> unbeaten = pareto(objectives);
  for (std::size_t i = 0; i < known.size(); ++i) known[i]->on_frontier = unbeaten[i];
}

std::optional<Jpeg> load_jpeg(std::int64_t id) {
  SqlScope sql(SqlScope::As::superuser);
  const Row row = sql.run("SELECT jpeg_bytes, jpeg_fetch_us, jpeg_decode_us, jpeg_transfer_us, jpeg_model_us FROM imagecalc.design "
                          "WHERE id = $1", {id}).at(0);
  if (row.null(0) || row.null(1)) return std::nullopt;
  return Jpeg{row.real(0), {.fetch = row.real(1), .decode = row.real(2), .transfer = row.real(3), .model = row.real(4)}};
}

}  // namespace imagecalc

// Its argument, where the user may know of that design.
IC_FUNCTION(ic_own_design) { return Int64GetDatum(load_own_design(PG_GETARG_INT64(0)).id); }
