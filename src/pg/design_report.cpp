// ic_plot and ic_report: what a design knows, to look at.
#include "design/report.h"

#include "pg/columns.h"
#include "pg/datum.h"
#include "pg/design_findings.h"

using namespace imagecalc;

namespace {

constexpr int kPictures = 3;        // that the report shows
constexpr std::size_t kRebuilt = 4;  // formats that it shows them in

std::string plot_accuracy(const Findings& findings, const std::optional<Jpeg>& jpeg, bool by_latency) {
  const auto title = "Design " + std::to_string(findings.design.id) + ": accuracy by " + (by_latency ? "latency" : "storage");
  AccuracyPlot plot{.title = title, .cost_title = by_latency ? "microseconds an image" : "bytes an image", .formats = {}, .chosen = {},
                    .reference = {}};
  for (std::size_t i = 0; i < findings.candidates.size(); ++i) {
    const auto& prediction = findings.predictions[i];
    if (!prediction) continue;
    const CandidateRow& row = findings.candidates[i];
    plot.formats.push_back({to_string(row.format), by_latency ? row.latency.total() : row.bytes, prediction->accuracy, prediction->low,
                            prediction->high, prediction->measured});
  }
  if (const TrialRow* final_trial = find_trial(findings.trials, TrialKind::final)) plot.chosen = to_string(*final_trial->format);
  const TrialRow* reference = find_trial(findings.trials, TrialKind::reference);
  if (reference && jpeg) {
    const double accuracy = reference->trial.accuracy;
    plot.reference = {"RGB from JPEG", by_latency ? jpeg->latency.total() : jpeg->bytes, accuracy, accuracy, accuracy, true};
  }
  return draw(plot);
}

// JPEG beside what was chosen, or the formats that were tried as long as nothing is.
std::string plot_components(const Findings& findings, const std::optional<Jpeg>& jpeg) {
  std::vector<LatencyBar> bars;
  if (jpeg) bars.push_back({"RGB from JPEG", jpeg->latency});
  const TrialRow* final_trial = find_trial(findings.trials, TrialKind::final);
  for (std::size_t i = 0; i < findings.candidates.size(); ++i) {
    const auto& prediction = findings.predictions[i];
    if (!prediction || !prediction->measured) continue;
    if (final_trial && findings.candidates[i].format != final_trial->format) continue;
    bars.push_back({to_string(findings.candidates[i].format), findings.candidates[i].latency});
  }
  return draw("Design " + std::to_string(findings.design.id) + ": where the time of an image goes", bars);
}

// ---- the report

std::string rounded(double value, const char* unit) {
  char text[48];
  snprintf(text, sizeof text, value >= 100 ? "%.0f%s" : "%.3g%s", value, unit);
  return text;
}

// The chosen format, or the most accurate one that was tried, first; then others of the frontier, evenly by bytes.
std::vector<std::size_t> formats_to_show(const Findings& findings) {
  std::optional<std::size_t> best;
  const TrialRow* final_trial = find_trial(findings.trials, TrialKind::final);
  std::vector<std::size_t> frontier;
  const std::vector<bool> on_frontier = frontier_of(findings);
  for (std::size_t i = 0; i < findings.candidates.size(); ++i) {
    const auto& prediction = findings.predictions[i];
    if (!prediction) continue;
    const bool chosen = final_trial && findings.candidates[i].format == final_trial->format;
    const bool better = !final_trial && prediction->measured && (!best || prediction->accuracy > findings.predictions[*best]->accuracy);
    if (chosen || better) best = i;
    if (on_frontier[i]) frontier.push_back(i);
  }
  std::sort(frontier.begin(), frontier.end(),
            [&](std::size_t a, std::size_t b) { return findings.candidates[a].bytes < findings.candidates[b].bytes; });
  std::vector<std::size_t> shown;
  if (best) shown.push_back(*best);
  for (std::size_t i = 1; i < kRebuilt && !frontier.empty(); ++i) {
    const std::size_t other = frontier[(frontier.size() - 1) * (kRebuilt - 1 - i) / (kRebuilt - 2)];
    if (std::find(shown.begin(), shown.end(), other) == shown.end()) shown.push_back(other);
  }
  return shown;
}

// A few of the table's pictures, as the caller may read them; none where it has none any more.
std::vector<ReportPicture> load_pictures(const Findings& findings, const std::vector<std::string>& formats) {
  SqlScope sql(SqlScope::As::caller);
  const Design& design = findings.design;
  if (sql.run("SELECT to_regclass($1)", {design.relation}).at(0).null(0)) return {};
  if (!sql.run("SELECT has_column_privilege($1, $2, 'SELECT')", {design.relation, design.image_column}).at(0).boolean(0)) return {};
  const std::vector<Column> columns = list_columns(sql, design.relation);
  const auto column = std::find_if(columns.begin(), columns.end(), [&](const Column& c) { return c.name == design.image_column; });
  if (column == columns.end() || column->type != "bytea") return {};
  const auto base64 = [](const std::string& bytes) { return "translate(encode(" + bytes + ", 'base64'), E'\\n', '')"; };
  const std::string image = quote_name(design.image_column), functions = extension_schema(sql) + ".";
  std::string query = "SELECT " + base64(image);
  for (const std::string& format : formats) {
    query += ", " + base64(functions + "ic_to_jpeg(" + functions + "ic_encode(" + image + ", " + quote_text(format) + "))");
  }
  query += " FROM " + design.relation + " WHERE " + image + " IS NOT NULL LIMIT " + std::to_string(kPictures);
  std::vector<ReportPicture> pictures;
  for (const Row& row : sql.run(query.c_str(), {}, true)) {
    ReportPicture picture{row.text(0), {}};
    for (std::size_t i = 0; i < formats.size(); ++i) picture.rebuilt.push_back(row.text(i + 1));
    pictures.push_back(std::move(picture));
  }
  return pictures;
}

void add_facts(Report& report, const Findings& findings, const std::optional<Jpeg>& jpeg) {
  const auto add = [&](const char* what, std::string how_much) { report.facts.emplace_back(what, std::move(how_much)); };
  const auto percent = [](double fraction) {
    char text[16];
    snprintf(text, sizeof text, "%.1f %%", 100 * fraction);
    return std::string(text);
  };
  add("table", findings.design.relation);
  add("trials", std::to_string(findings.trials.size()));
  const TrialRow* reference = find_trial(findings.trials, TrialKind::reference);
  if (reference) add("accuracy on RGB", percent(reference->trial.accuracy));
  const TrialRow* final_trial = find_trial(findings.trials, TrialKind::final);
  if (!final_trial) return;
  const CandidateRow& chosen = findings.candidates[*final_trial->trial.candidate];
  add("chosen", to_string(chosen.format));
  add("accuracy", percent(final_trial->trial.accuracy));
  add("bytes a picture", rounded(chosen.bytes, "") + (jpeg ? ", a JPEG file has " + rounded(jpeg->bytes, "") : ""));
  add("time an image", rounded(chosen.latency.total(), " us") + (jpeg ? ", on RGB from JPEG " + rounded(jpeg->latency.total(), " us") : ""));
}

std::string write_report(const Findings& findings) {
  const std::optional<Jpeg> jpeg = load_jpeg(findings.design.id);
  Report report;
  report.title = "Design " + std::to_string(findings.design.id) + " of " + findings.design.relation;
  add_facts(report, findings, jpeg);
  for (std::size_t i = 0; i < findings.candidates.size(); ++i) {
    const auto& prediction = findings.predictions[i];
    if (!prediction) continue;
    const CandidateRow& row = findings.candidates[i];
    report.formats.push_back({to_string(row.format), prediction->accuracy, prediction->low, prediction->high, row.latency.total(),
                              row.bytes, prediction->measured});
  }
  report.plots = {plot_accuracy(findings, jpeg, true), plot_accuracy(findings, jpeg, false), plot_components(findings, jpeg)};
  for (std::size_t i : formats_to_show(findings)) report.rebuilt.push_back(to_string(findings.candidates[i].format));
  report.pictures = load_pictures(findings, report.rebuilt);
  return write_page(report);
}

}  // namespace

IC_FUNCTION(ic_plot) {
  const std::int64_t id = PG_GETARG_INT64(0);
  const text* argument = PG_GETARG_TEXT_PP(1);
  const std::string kind(text_view(argument));
  const bool by_latency = kind == "latency";
  if (!by_latency && kind != "storage" && kind != "components")
    throw Error(Fault::invalid_argument, "there is no plot of kind \"" + kind + "\"", "Choose latency, storage or components.");
  const Findings findings = load_findings(id);
  const std::optional<Jpeg> jpeg = load_jpeg(id);
  return text_datum(kind == "components" ? plot_components(findings, jpeg) : plot_accuracy(findings, jpeg, by_latency));
}

IC_FUNCTION(ic_report) { return text_datum(write_report(load_findings(PG_GETARG_INT64(0)))); }
