// ic_plot and ic_report: what a design knows, to look at.
#include "design/report.h"

#include "pg/columns.h"
#include "pg/datum.h"
#include "pg/design_findings.h"

using namespace imagecalc;

namespace {

constexpr int kPictures = 3;        // that the report shows
constexpr std::size_t kRebuilt = 4;  // formats that it shows them in

std::string name_of(const CandidateRow& row) { return name_of(row.format, row.stem); }

bool is_of(const TrialRow& trial, const CandidateRow& row) { return trial.format == row.format && trial.stem == row.stem; }

std::string plot_accuracy(const Findings& findings, const std::optional<Jpeg>& jpeg, bool by_latency) {
  const auto title = "Design " + std::to_string(findings.design.id) + ": accuracy by " + (by_latency ? "latency" : "storage");
  AccuracyPlot plot{.title = title, .cost_title = by_latency ? "microseconds an image" : "bytes an image", .formats = {}, .chosen = {},
                    .reference = {}};
  for (const CandidateRow& row : findings.candidates) {
    if (!row.prediction) continue;
    plot.formats.push_back({name_of(row), by_latency ? row.latency.total() : row.bytes, row.prediction->accuracy, row.prediction->low,
                            row.prediction->high, row.prediction->measured});
  }
  if (const TrialRow* chosen = chosen_trial(findings)) {
    plot.chosen = name_of(*chosen->format, chosen->stem);
  }
  const TrialRow* reference = find_reference(findings.trials);
  if (reference && jpeg) {
    const double accuracy = reference->trial.accuracy;
    plot.reference = {"RGB from JPEG", by_latency ? jpeg->latency.total() : jpeg->bytes, accuracy, accuracy, accuracy, true};
  }
  return draw(plot);
}

std::string plot_buckets(const Findings& findings) {
  const Search search(search_candidates(findings.candidates), findings.design.search, findings.design.budgets);
  BucketPlot plot{.title = "Design " + std::to_string(findings.design.id) + ": accuracy by bucket", .buckets = {}, .trials = {}};
  std::vector<int> sizes;
  for (std::size_t i = 0; i < findings.candidates.size(); ++i) {
    const CandidateRow& row = findings.candidates[i];
    const std::optional<int> bucket = search.bucket(i);
    if (!row.prediction || !bucket) continue;
    const auto place = static_cast<std::size_t>(*bucket);
    if (place >= sizes.size()) {
      sizes.resize(place + 1);
      plot.buckets.resize(place + 1);
    }
    BucketRange& range = plot.buckets[place];
    const double accuracy = row.prediction->accuracy;
    range.least = std::min(range.least, accuracy);
    range.most = std::max(range.most, accuracy);
    range.mean += (accuracy - range.mean) / ++sizes[place];
    if (row.prediction->measured) plot.trials.push_back({*bucket, name_of(row), accuracy});
  }
  return draw(plot);
}

// JPEG beside what was chosen, or the formats that were tried as long as nothing is.
std::string plot_components(const Findings& findings, const std::optional<Jpeg>& jpeg) {
  std::vector<LatencyBar> bars;
  if (jpeg) bars.push_back({"RGB from JPEG", jpeg->latency});
  const TrialRow* chosen = chosen_trial(findings);
  for (const CandidateRow& row : findings.candidates) {
    if (!row.prediction || !row.prediction->measured) continue;
    if (chosen && !is_of(*chosen, row)) continue;
    bars.push_back({name_of(row), row.latency});
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
std::vector<std::string> formats_to_show(const Findings& findings) {
  const CandidateRow* best = nullptr;
  const TrialRow* chosen = chosen_trial(findings);
  std::vector<const CandidateRow*> frontier;
  for (const CandidateRow& row : findings.candidates) {
    if (!row.prediction) continue;
    const bool is_chosen = chosen && is_of(*chosen, row);
    const bool better = !chosen && row.prediction->measured && (!best || row.prediction->accuracy > best->prediction->accuracy);
    if (is_chosen || better) best = &row;
    if (row.on_frontier) frontier.push_back(&row);
  }
  std::sort(frontier.begin(), frontier.end(), [](const auto* a, const auto* b) { return a->bytes < b->bytes; });
  std::vector<std::string> shown;
  if (best) shown.push_back(to_string(best->format));
  for (std::size_t i = 1; i < kRebuilt && !frontier.empty(); ++i) {
    std::string other = to_string(frontier[(frontier.size() - 1) * (kRebuilt - 1 - i) / (kRebuilt - 2)]->format);
    if (std::find(shown.begin(), shown.end(), other) == shown.end()) shown.push_back(std::move(other));
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
  const TrialRow* reference = find_reference(findings.trials);
  if (reference) add("accuracy on RGB", percent(reference->trial.accuracy));
  const TrialRow* chosen = chosen_trial(findings);
  if (!chosen) return;
  const CandidateRow& format = findings.candidates[*chosen->trial.candidate];
  add("chosen", name_of(format));
  add("accuracy", percent(chosen->trial.accuracy));
  add("bytes a picture", rounded(format.bytes, "") + (jpeg ? ", a JPEG file has " + rounded(jpeg->bytes, "") : ""));
  add("time an image", rounded(format.latency.total(), " us") + (jpeg ? ", on RGB from JPEG " + rounded(jpeg->latency.total(), " us") : ""));
}

std::string write_report(const Findings& findings) {
  const std::optional<Jpeg> jpeg = load_jpeg(findings.design.id);
  Report report;
  report.title = "Design " + std::to_string(findings.design.id) + " of " + findings.design.relation;
  add_facts(report, findings, jpeg);
  for (const CandidateRow& row : findings.candidates) {
    if (!row.prediction) continue;
    const Prediction& known = *row.prediction;
    report.formats.push_back({name_of(row), known.accuracy, known.low, known.high, row.latency.total(), row.bytes,
                              known.measured});
  }
  report.plots = {plot_accuracy(findings, jpeg, true), plot_accuracy(findings, jpeg, false), plot_buckets(findings),
                  plot_components(findings, jpeg)};
  report.rebuilt = formats_to_show(findings);
  report.pictures = load_pictures(findings, report.rebuilt);
  return write_page(report);
}

}  // namespace

IC_FUNCTION(ic_plot) {
  const std::int64_t id = PG_GETARG_INT64(0);
  const text* argument = PG_GETARG_TEXT_PP(1);
  const std::string kind(text_view(argument));
  if (kind != "latency" && kind != "storage" && kind != "buckets" && kind != "components")
    throw Error(Fault::invalid_argument, "there is no plot of kind \"" + kind + "\"", "Choose latency, storage, buckets or components.");
  const Findings findings = load_findings(id);
  if (kind == "buckets") return text_datum(plot_buckets(findings));
  const std::optional<Jpeg> jpeg = load_jpeg(id);
  return text_datum(kind == "components" ? plot_components(findings, jpeg) : plot_accuracy(findings, jpeg, kind == "latency"));
}

IC_FUNCTION(ic_report) { return text_datum(write_report(load_findings(PG_GETARG_INT64(0)))); }
