#include "pg/design_findings.h"

#include "pg/model_catalog.h"

namespace imagecalc {

Findings load_findings(std::int64_t id) {
  std::optional<Design> design = load_design(id);
  if (!design || !may_act_as(design->owner))
    throw Error(Fault::invalid_argument, "design " + std::to_string(id) + " does not exist, or is not yours",
                "SELECT id FROM ic_designs shows yours.");
  Findings findings{.design = std::move(*design), .candidates = load_candidates(id), .trials = {}, .predictions = {}};
  if (findings.candidates.empty()) return findings;
  findings.trials = load_trials(id, findings.candidates);
  const Search search(search_candidates(findings.candidates), findings.design.search, findings.design.budgets);
  findings.predictions = search.predict(search_trials(findings.trials));
  return findings;
}

std::vector<bool> frontier_of(const Findings& findings) {
  std::vector<std::size_t> known;
  std::vector<Objective> objectives;
  for (std::size_t i = 0; i < findings.candidates.size(); ++i) {
    if (!findings.predictions[i]) continue;
    const CandidateRow& row = findings.candidates[i];
    known.push_back(i);
    objectives.push_back({findings.predictions[i]->accuracy, row.latency.total(), row.bytes});
  }
  const std::vector<bool> unbeaten = pareto(objectives);
  std::vector<bool> frontier(findings.candidates.size());
  for (std::size_t i = 0; i < known.size(); ++i) frontier[known[i]] = unbeaten[i];
  return frontier;
}

std::optional<Jpeg> load_jpeg(std::int64_t id) {
  SqlScope sql(SqlScope::As::superuser);
  const Row row = sql.run("SELECT jpeg_bytes, jpeg_fetch_us, jpeg_decode_us, jpeg_transfer_us, jpeg_model_us FROM imagecalc.design "
                          "WHERE id = $1", {id}).at(0);
  if (row.null(0) || row.null(1)) return std::nullopt;
  return Jpeg{row.real(0), {.fetch = row.real(1), .decode = row.real(2), .transfer = row.real(3), .model = row.real(4)}};
}

}  // namespace imagecalc
