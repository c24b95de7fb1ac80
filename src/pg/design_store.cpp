#include "pg/design_store.h"

#include <algorithm>
#include <charconv>
#include <map>

namespace imagecalc {
namespace {

constexpr const char* kKindNames[] = {"reference", "scratch", "transfer", "final"};

TrialKind parse_kind(const std::string& name) {
  for (int kind = 0; kind < 4; ++kind)
    if (name == kKindNames[kind]) return static_cast<TrialKind>(kind);
  throw Error(Fault::internal, "unknown kind of trial \"" + name + "\"");
}

template <typename Number>
std::string digits(Number value) {
  char buffer[64];
  return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
}

std::optional<double> optional_real(const Row& row, std::size_t column) {
  return row.null(column) ? std::nullopt : std::optional(row.real(column));
}

std::int64_t packed(const Format& format) { return pack(format); }

Format unpack_cell(const Row& row, std::size_t column) { return unpack(static_cast<std::uint32_t>(row.integer(column))); }

std::vector<std::string> load_labels(SqlScope& sql, std::int64_t id) {
  std::vector<std::string> labels;
  for (const Row& row : sql.run("SELECT l.label FROM imagecalc.design AS d, unnest(d.labels) WITH ORDINALITY AS l(label, place) "
                                "WHERE d.id = $1 ORDER BY l.place", {id}))
    labels.push_back(row.text(0));
  return labels;
}

}  // namespace

const char* kind_name(TrialKind kind) { return kKindNames[static_cast<int>(kind)]; }

bool lock_design(std::int64_t id) {
  return pg([&] {
    LOCKTAG tag;
    const Oid table = get_relname_relid("design", get_namespace_oid("imagecalc", false));
    SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, table, static_cast<uint32>(id), 3);
    return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
  });
}

std::optional<Design> load_design(std::int64_t id) {
  SqlScope sql(SqlScope::As::superuser);
  const Rows rows = sql.run(
      "SELECT owner::oid, relation, image_column, label_column, split_column, model_name, latency_us, storage, max_accuracy_loss, "
      "latency_batch, size, epochs, transfer_epochs, buckets, sampled_buckets, trials_per_bucket, validation, max_images, "
      "batch_size, schedule, learning_rate, seed, explore_all, rgb_reference, compression_level, class_weights, augmentation, stem, state, "
      "chosen FROM imagecalc.design WHERE id = $1", {id});
  if (rows.empty()) return std::nullopt;
  const Row& row = rows[0];
  std::size_t column = 0;
  const auto integer = [&] { return static_cast<int>(row.integer(column++)); };
  Design design;
  design.id = id;
  design.owner = static_cast<Oid>(row.integer(column++));
  design.relation = row.text(column++);
  design.image_column = row.text(column++);
  design.label_column = row.text(column++);
  if (!row.null(column)) design.split_column = row.text(column);
  ++column;
  design.model_name = row.text(column++);
  design.budgets.latency_us = optional_real(row, column++);
  design.budgets.bytes = optional_real(row, column++);
  design.budgets.max_accuracy_loss = optional_real(row, column++);
  design.latency_batch = integer();
  design.size = integer();
  design.epochs = integer();
  design.transfer_epochs = integer();
  design.search.buckets = integer();
  design.search.sampled_buckets = integer();
  design.search.trials_per_bucket = integer();
  design.validation = row.real(column++);
  design.max_images = integer();
  design.batch_size = integer();
  design.one_cycle = row.text(column++) == "one-cycle";
  design.learning_rate = row.real(column++);
  design.seed = static_cast<std::uint64_t>(row.integer(column++));
  design.search.explore_all = row.boolean(column++);
  design.search.train_reference = row.boolean(column++);
  design.compression_level = integer();
  design.balanced = row.text(column++) == "balanced";
  design.augmentation = parse_augmentation(row.text(column++));
  design.try_stems = row.text(column++) == "auto";
  design.state = row.text(column++);
  if (!row.null(column)) design.chosen = static_cast<int>(row.integer(column));
  design.labels = load_labels(sql, id);
  return design;
}

std::int64_t insert_design(const Design& design, const Blob& model) {
  SqlScope sql(SqlScope::As::superuser);
  const std::string statement =
      "INSERT INTO imagecalc.design (owner, relation, image_column, label_column, split_column, model_name, latency_us, storage, "
      "max_accuracy_loss, latency_batch, size, epochs, transfer_epochs, buckets, sampled_buckets, trials_per_bucket, validation, "
      "max_images, batch_size, schedule, learning_rate, seed, explore_all, rgb_reference, compression_level, class_weights, augmentation, stem, labels) "
      "VALUES ($1::oid::regrole, $2, $3::name, $4::name, $5::name, $6, $7::float8, $8::float8, $9::float8, $10, $11, $12, $13, "
      "$14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, " + text_array_expression(design.labels) + ") RETURNING id";
  const auto real = [](const std::optional<double>& value) { return value ? std::optional(digits(*value)) : std::nullopt; };
  const std::optional<std::string> latency = real(design.budgets.latency_us), storage = real(design.budgets.bytes),
                                   loss = real(design.budgets.max_accuracy_loss);
  const Rows rows = sql.run(
      statement.c_str(),
      {std::int64_t{design.owner}, design.relation, design.image_column, design.label_column, design.split_column, design.model_name, latency,
       storage, loss, design.latency_batch, design.size, design.epochs, design.transfer_epochs, design.search.buckets,
       design.search.sampled_buckets, design.search.trials_per_bucket, design.validation, design.max_images, design.batch_size,
       design.one_cycle ? "one-cycle" : "constant", design.learning_rate, static_cast<std::int64_t>(design.seed),
       design.search.explore_all, design.search.train_reference, design.compression_level,
       design.balanced ? "balanced" : "none", std::string(to_string(design.augmentation)),
       design.try_stems ? "auto" : "none"});
  const std::int64_t id = rows.at(0).integer(0);
  sql.run("INSERT INTO imagecalc.weights (design, trial, bytes) VALUES ($1, 0, $2)", {id, model});
  return id;
}

Oid design_owner(std::int64_t id) {
  SqlScope sql(SqlScope::As::superuser);
  const Rows rows = sql.run("SELECT owner::oid FROM imagecalc.design WHERE id = $1", {id});
  if (rows.empty())
    throw Error(Fault::invalid_argument, "design " + std::to_string(id) + " does not exist", "SELECT id FROM ic_designs shows yours.");
  return static_cast<Oid>(rows[0].integer(0));
}

std::vector<CandidateRow> load_candidates(std::int64_t design) {
  SqlScope sql(SqlScope::As::superuser);
  std::vector<CandidateRow> candidates;
  // In the order of the design space, whatever the order of insertion: the search breaks ties by it.
  for (const Row& row : sql.run("SELECT format, bytes, bytes_deviation, fetch_us, decode_us, transfer_us, model_us, "
                                "latency_measured, refusal, accuracy, accuracy_low, accuracy_high, measured, on_frontier, single_us, stem "
                                "FROM imagecalc.candidate WHERE design = $1 ORDER BY stem, format", {design})) {
    CandidateRow candidate;
    candidate.format = unpack_cell(row, 0);
    candidate.bytes = row.real(1);
    candidate.bytes_deviation = row.real(2);
    candidate.latency = {row.real(3), row.real(4), row.real(5), row.real(6)};
    candidate.latency_measured = row.boolean(7);
    if (!row.null(8)) candidate.refusal = row.text(8);
    if (!row.null(9)) candidate.prediction = Prediction{row.real(9), row.real(10), row.real(11), row.boolean(12)};
    candidate.on_frontier = row.boolean(13);
    candidate.single_latency_us = row.real(14);
    candidate.stem = row.boolean(15);
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

void insert_candidates(std::int64_t design, const std::vector<CandidateRow>& rows) {
  std::vector<std::int64_t> formats, stems, measured;
  std::vector<double> bytes, deviation, fetch, decode, transfer, model, single;
  for (const CandidateRow& row : rows) {
    formats.push_back(packed(row.format));
    stems.push_back(row.stem);
    measured.push_back(row.latency_measured);
    bytes.push_back(row.bytes);
    deviation.push_back(row.bytes_deviation);
    fetch.push_back(row.latency.fetch);
    decode.push_back(row.latency.decode);
    transfer.push_back(row.latency.transfer);
    model.push_back(row.latency.model);
    single.push_back(row.single_latency_us);
  }
  SqlScope sql(SqlScope::As::superuser);
  const std::string literals[] = {array_literal(formats), array_literal(bytes),    array_literal(deviation), array_literal(fetch),
                                  array_literal(decode),  array_literal(transfer), array_literal(model),     array_literal(measured),
                                  array_literal(single),  array_literal(stems)};
  sql.run("INSERT INTO imagecalc.candidate (design, format, bytes, bytes_deviation, fetch_us, decode_us, transfer_us, model_us, "
          "latency_measured, single_us, stem) SELECT $1, u.f, u.b, u.d, u.fe, u.de, u.tr, u.mo, u.me <> 0, u.si, u.st <> 0 "
          "FROM unnest($2::int[], $3::real[], $4::real[], $5::real[], $6::real[], $7::real[], $8::real[], $9::int[], $10::real[], "
          "$11::int[]) AS u(f, b, d, fe, de, tr, mo, me, si, st)",
          {design, literals[0], literals[1], literals[2], literals[3], literals[4], literals[5], literals[6], literals[7], literals[8],
           literals[9]});
  std::map<std::pair<bool, std::string>, std::vector<Format>> refused;
  for (const CandidateRow& row : rows)
    if (row.refusal) refused[{row.stem, *row.refusal}].push_back(row.format);
  for (const auto& [why, list] : refused) refuse_candidates(design, list, why.first, why.second);
}

namespace {

// Rows of imagecalc.ranking stay where they are, and are told what stands in their places now: that costs its index nothing.
void rank_candidates(SqlScope& sql, std::int64_t design) {
  sql.run("INSERT INTO imagecalc.ranking (design, place, format, stem, accuracy, accuracy_low, accuracy_high, measured, latency_us, bytes) "
          "SELECT $1, row_number() OVER (ORDER BY accuracy DESC, latency_us, bytes, stem, format) AS place, "
          "format, stem, accuracy, accuracy_low, accuracy_high, measured, latency_us, bytes "
          "FROM imagecalc.predictions($1) WHERE accuracy IS NOT NULL ORDER BY place "
          "ON CONFLICT (design, place) DO UPDATE SET format = excluded.format, stem = excluded.stem, accuracy = excluded.accuracy, "
          "accuracy_low = excluded.accuracy_low, accuracy_high = excluded.accuracy_high, measured = excluded.measured, "
          "latency_us = excluded.latency_us, bytes = excluded.bytes", {design});
  sql.run("DELETE FROM imagecalc.ranking WHERE design = $1 "
          "AND place > (SELECT count(*) FROM imagecalc.candidate WHERE design = $1 AND accuracy IS NOT NULL)", {design});
  sql.run("ANALYZE imagecalc.ranking");  // without it the planner sorts what is in order
}

}  // namespace

void store_predictions(std::int64_t design, const std::vector<CandidateRow>& rows) {
  std::vector<std::int64_t> formats, stems, measured, on_frontier;
  std::vector<double> accuracy, low, high;
  for (const CandidateRow& row : rows) {
    if (!row.prediction) continue;
    formats.push_back(packed(row.format));
    stems.push_back(row.stem);
    accuracy.push_back(row.prediction->accuracy);
    low.push_back(row.prediction->low);
    high.push_back(row.prediction->high);
    measured.push_back(row.prediction->measured);
    on_frontier.push_back(row.on_frontier);
  }
  SqlScope sql(SqlScope::As::superuser);
  const std::string literals[] = {array_literal(formats), array_literal(accuracy), array_literal(low),
                                  array_literal(high),    array_literal(measured), array_literal(on_frontier),
                                  array_literal(stems)};
  sql.run("UPDATE imagecalc.candidate AS c SET accuracy = u.a, accuracy_low = u.l, accuracy_high = u.h, measured = u.m <> 0, "
          "on_frontier = u.o <> 0 FROM unnest($2::int[], $3::real[], $4::real[], $5::real[], $6::int[], $7::int[], $8::int[]) "
          "AS u(f, a, l, h, m, o, st) WHERE c.design = $1 AND c.format = u.f AND c.stem = (u.st <> 0)",
          {design, literals[0], literals[1], literals[2], literals[3], literals[4], literals[5], literals[6]});
  rank_candidates(sql, design);
}

void refuse_candidates(std::int64_t design, const std::vector<Format>& formats, bool stem, const std::string& refusal) {
  std::vector<std::int64_t> list;
  for (const Format& format : formats) list.push_back(packed(format));
  const std::string literal = array_literal(list);
  SqlScope sql(SqlScope::As::superuser);
  sql.run("UPDATE imagecalc.candidate SET refusal = $3, accuracy = NULL, accuracy_low = NULL, accuracy_high = NULL, "
          "measured = false, on_frontier = false WHERE design = $1 AND format = ANY ($2::int[]) AND stem = $4",
          {design, literal, refusal, stem});
}

std::vector<Candidate> search_candidates(const std::vector<CandidateRow>& rows) {
  std::vector<Candidate> candidates;
  for (const CandidateRow& row : rows)
    candidates.push_back({row.format, row.bytes, row.latency.total(), !row.refusal, row.stem});
  return candidates;
}

std::vector<TrialRow> load_trials(std::int64_t design, const std::vector<CandidateRow>& candidates) {
  std::map<std::pair<std::int64_t, bool>, std::size_t> places;
  for (std::size_t i = 0; i < candidates.size(); ++i) places[{packed(candidates[i].format), candidates[i].stem}] = i;

  SqlScope sql(SqlScope::As::superuser);
  std::vector<TrialRow> trials;
  for (const Row& row : sql.run("SELECT number, kind, format, parent, epochs, accuracy, loss, seconds, mean[1], mean[2], mean[3], "
                                "deviation[1], deviation[2], deviation[3], bf16_accuracy, top5_accuracy, stopped, "
                                "halfway_accuracy, stem FROM imagecalc.trial WHERE design = $1 ORDER BY number",
                                {design})) {
    TrialRow trial;
    trial.trial.number = static_cast<int>(row.integer(0));
    trial.trial.kind = parse_kind(row.text(1));
    trial.trial.accuracy = row.real(5);
    if (!row.null(2)) {
      trial.format = unpack_cell(row, 2);
      trial.stem = row.boolean(18);
      const auto place = places.find({row.integer(2), trial.stem});
      if (place == places.end()) throw Error(Fault::internal, "a trial's format is not a candidate of its design");
      trial.trial.candidate = place->second;
    }
    if (!row.null(3)) trial.parent = static_cast<int>(row.integer(3));
    trial.epochs = static_cast<int>(row.integer(4));
    trial.loss = row.real(6);
    trial.seconds = row.real(7);
    if (!row.null(14)) trial.bf16_accuracy = row.real(14);
    trial.top5_accuracy = row.real(15);
    trial.trial.stopped = row.boolean(16);
    if (!row.null(17)) trial.trial.halfway = row.real(17);
    for (std::size_t c = 0; c < 3; ++c) {
      trial.normalisation.mean[c] = static_cast<float>(row.real(8 + c));
      trial.normalisation.deviation[c] = static_cast<float>(row.real(11 + c));
    }
    trials.push_back(std::move(trial));
  }
  return trials;
}

void insert_trial(std::int64_t design, const TrialRow& row, std::span<const std::uint8_t> weights) {
  const auto text = [](const auto& value) {
    return value ? std::optional(std::to_string(*value)) : std::nullopt;
  };
  const std::optional<std::string> format = row.format ? std::optional(std::to_string(packed(*row.format))) : std::nullopt;
  const std::optional<std::string> parent = text(row.parent);
  const std::string mean = array_literal(row.normalisation.mean), deviation = array_literal(row.normalisation.deviation);
  SqlScope sql(SqlScope::As::superuser);
  sql.run("INSERT INTO imagecalc.trial (design, number, kind, format, parent, epochs, accuracy, loss, seconds, mean, deviation, "
          "bf16_accuracy, top5_accuracy, stopped, halfway_accuracy, stem) "
          "VALUES ($1, $2, $3, $4::int, $5::int, $6, $7, $8, $9, $10::real[], $11::real[], $12::real, $13, $14, $15::real, $16)",
          {design, row.trial.number, kind_name(row.trial.kind), format, parent, row.epochs, row.trial.accuracy, row.loss, row.seconds,
           mean, deviation, row.bf16_accuracy, row.top5_accuracy, row.trial.stopped, row.trial.halfway, row.stem});
  if (weights.empty()) return;
  sql.run("INSERT INTO imagecalc.weights (design, trial, bytes) VALUES ($1, $2, $3)", {design, row.trial.number, weights});
}

const TrialRow* find_reference(const std::vector<TrialRow>& rows) {
  const auto found = std::find_if(rows.begin(), rows.end(), [](const TrialRow& row) { return row.trial.kind == TrialKind::reference; });
  return found == rows.end() ? nullptr : &*found;
}

std::vector<Trial> search_trials(const std::vector<TrialRow>& rows) {
  std::vector<Trial> trials;
  for (const TrialRow& row : rows) trials.push_back(row.trial);
  return trials;
}

Blob load_weights(std::int64_t design, int trial) {
  SqlScope sql(SqlScope::As::superuser);
  const Rows rows = sql.run("SELECT bytes FROM imagecalc.weights WHERE design = $1 AND trial = $2", {design, trial});
  if (rows.empty())
    throw Error(Fault::invalid_argument, "the weights of trial " + std::to_string(trial) + " of design " + std::to_string(design) +
                    " are gone", "They are not part of a dump; design anew with ic_design.");
  return rows[0].blob(0);
}

void delete_weights_except(std::int64_t design, const std::vector<int>& trials) {
  const std::string kept = array_literal(trials);
  SqlScope sql(SqlScope::As::superuser);
  sql.run("DELETE FROM imagecalc.weights WHERE design = $1 AND trial <> ALL ($2::int[])", {design, kept});
}

}  // namespace imagecalc
