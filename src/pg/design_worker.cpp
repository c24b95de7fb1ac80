// The background worker "imagecalc design N": takes one design from its call to a registered model.
//
// The order of its work, each step committed before the next: pictures to the training runner, storage model, latency model, then
// trials, as many at a time as there are devices to train on, until the search has no more. README.md has the states.
#include "pg/design_worker.h"

#include <algorithm>
#include <map>
#include <set>

#include "codec/crc32c.h"
#include "pg/design_findings.h"
#include "pg/design_latency.h"
#include "pg/model_catalog.h"
#include "pg/runner_client.h"
#include "pg/settings.h"
#include "pg/trainer.h"

using namespace imagecalc;

extern "C" PGDLLEXPORT void imagecalc_design_main(Datum);

namespace {

constexpr std::size_t kSampleFiles = 8;           // kept here to measure latency with
constexpr std::uint32_t kStorageSample = 32;      // pictures that every format is measured on
constexpr std::uint32_t kSlowStorageSample = 4;   // the same at levels that take long
constexpr int kSlowLevel = 10;
constexpr std::size_t kPortionImages = 32;        // sent at once
constexpr std::size_t kPortionBytes = 16 << 20;
constexpr int kMaxFileBytes = 100'000'000;        // larger files are counted as rejected, unread
constexpr long kTellEveryMs = 500;

// What the calling session leaves for the worker in bgw_extra.
struct Errand {
  Oid database;
  TransactionId caller;
  std::int64_t design;
};
static_assert(sizeof(Errand) <= BGW_EXTRALEN);

std::uint64_t mix(std::uint64_t seed, std::uint64_t index) {  // splitmix64
  std::uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

class Job {
 public:
  explicit Job(std::int64_t id) : id_(id) {}

  // False where the caller's transaction aborted, or the design was cancelled before it began.
  bool claim();
  void run();

 private:
  void begin();
  void load_pictures();
  void send_pictures(AddImages& portion);
  void keep_lock();
  void check_pictures() const;
  void measure_costs();
  std::vector<CandidateRow> price(const StorageReply& storage, const LatencyFindings& latency) const;
  void search();
  void run_trials(const std::vector<TrialPlan>& plans);
  int epochs_of(TrialKind kind) const { return kind == TrialKind::transfer ? design_.transfer_epochs : design_.epochs; }
  int next_number() const { return trials_.empty() ? 1 : trials_.back().trial.number + 1; }
  TrialRow row_for(const TrialPlan& plan, int number) const;
  Train request_for(const TrialPlan& plan, const TrialRow& row) const;
  void record(TrialRow row, const TrainReply& reply);
  void record_refusal(const TrialRow& row, const std::string& message);
  void conclude(const Search& search);

  void tell(const std::string& phase, std::optional<int> step, std::optional<int> steps, bool now = false);
  std::optional<double> seconds_to_go() const;

  std::int64_t id_;
  Design design_;
  Blob model_;
  ModelHash model_hash_{};
  std::optional<Trainer> trainer_;
  std::size_t at_once_ = 1;  // trials
  std::vector<Blob> sample_files_;
  std::vector<CandidateRow> candidates_;
  std::vector<TrialRow> trials_;
  AddReply loaded_;
  std::int64_t rejected_ = 0;
  std::set<std::uint32_t> training_labels_;
  Remaining to_go_;
  TimestampTz told_at_ = 0;
};

// ---- claiming

bool Job::claim() {
  Transaction transaction;
  const std::optional<Design> design = load_design(id_);
  if (!design || design->state != "queued") return false;
  design_ = *design;
  bool claimed;
  {
    SqlScope sql(SqlScope::As::superuser);
    claimed = !sql.run("UPDATE imagecalc.design SET state = 'running', phase = 'starting the training runner', started_at = "
                       "coalesce(started_at, clock_timestamp()) WHERE id = $1 AND state = 'queued' RETURNING id", {id_}).empty();
  }
  transaction.commit();
  return claimed;
}

// ---- progress

// Writes where the job stands, in a transaction of its own, at most twice a second.
void Job::tell(const std::string& phase, std::optional<int> step, std::optional<int> steps, bool now) {
  const TimestampTz at = GetCurrentTimestamp();
  if (!now && !TimestampDifferenceExceeds(told_at_, at, kTellEveryMs)) return;
  told_at_ = at;
  const auto text = [](const std::optional<int>& value) { return value ? std::optional(std::to_string(*value)) : std::nullopt; };
  const std::optional<std::string> step_text = text(step), steps_text = text(steps);
  const std::optional<double> seconds = seconds_to_go();
  const std::optional<std::string> eta = seconds ? std::optional(std::to_string(*seconds)) : std::nullopt;
  Transaction transaction;
  {
    SqlScope sql(SqlScope::As::superuser);
    sql.run("UPDATE imagecalc.design SET phase = $2, step = $3::int, steps = $4::int, eta = $5::float8 * interval '1 second' "
            "WHERE id = $1", {id_, phase, step_text, steps_text, eta});
  }
  transaction.commit();
}

// From how long an epoch took so far; nothing before the first trial has ended.
std::optional<double> Job::seconds_to_go() const {
  double seconds = 0, epochs = 0;
  for (const TrialRow& row : trials_) {
    if (row.trial.kind == TrialKind::reference) continue;
    seconds += row.seconds;
    epochs += row.epochs;
  }
  const double epochs_to_go = 1.0 * to_go_.full * design_.epochs + 1.0 * to_go_.transfers * design_.transfer_epochs;
  if (epochs == 0 || epochs_to_go == 0) return std::nullopt;
  return seconds / epochs * epochs_to_go / static_cast<double>(at_once_);
}

// ---- pictures

// Where the server keeps temporary files, relative to the data directory, which is the runner's working directory, too.
std::string temporary_folder() {
  constexpr const char* kFolder = "base/" PG_TEMP_FILES_DIR;
  if (pg([&] { return MakePGDirectory(kFolder); }) < 0 && errno != EEXIST)
    throw Error(Fault::unavailable, std::string("could not make the folder ") + kFolder + ": " + strerror(errno));
  return kFolder;
}

void Job::begin() {
  {
    Transaction transaction;
    const Oid owner = design_.owner;
    if (!pg([&] { return GetUserNameFromId(owner, true); }))
      throw Error(Fault::invalid_argument, "the role that asked for the design does not exist any more");
    model_ = load_weights(id_, 0);
    model_hash_ = hash_model(model_);
    candidates_ = load_candidates(id_);
    trials_ = load_trials(id_, candidates_);
    transaction.commit();
  }
  trainer_.emplace();
  TrainSetup setup;
  setup.model = model_;
  setup.classes = static_cast<std::uint32_t>(design_.labels.size());
  setup.size = static_cast<std::uint32_t>(design_.size);
  setup.threads = static_cast<std::uint32_t>(resolve_threads(setting_trainer_threads));
  setup.batch_size = static_cast<std::uint32_t>(design_.batch_size);
  setup.learning_rate = static_cast<float>(design_.learning_rate);
  setup.one_cycle = design_.one_cycle;
  setup.balanced = design_.balanced;
  setup.augmentation = design_.augmentation;
  setup.seed = design_.seed;
  setup.max_pixels = setting_max_pixels;
  setup.memory = static_cast<std::uint64_t>(setting_trainer_memory) << 20;
  setup.spool_folder = temporary_folder();
  setup.device = parse_device(setting_device);
  at_once_ = std::max<std::uint32_t>(1, trainer_->ask_for<TrainReady>(setup).at_once);
}

// The query for the pictures, or a seeded sample of them where there are more than max_images.
std::string picture_query(const Design& design, std::int64_t rows, bool can_sample) {
  std::string query = "SELECT " + quote_name(design.image_column) + ", " + quote_name(design.label_column) + "::text, " +
                      (design.split_column ? quote_name(*design.split_column) + "::text" : "NULL::text") + " FROM " + design.relation;
  if (rows > design.max_images) {
    if (!can_sample)
      throw Error(Fault::limit_exceeded, design.relation + " has " + std::to_string(rows) + " rows, more than max_images, and cannot "
                      "be sampled", "Design on a table or a materialized view, or raise max_images.");
    const double percent = 100.0 * design.max_images / static_cast<double>(rows);
    query += " TABLESAMPLE bernoulli (" + std::to_string(percent) + ") REPEATABLE (" + std::to_string(design.seed % 1'000'000) + ")";
  }
  return query + " WHERE " + quote_name(design.image_column) + " IS NOT NULL AND " + quote_name(design.label_column) + " IS NOT NULL AND " +
         "octet_length(" + quote_name(design.image_column) + ") <= " + std::to_string(kMaxFileBytes);
}

// Which pictures are held out: the split column says, else a seeded fraction, by what is in them, so that it does not matter in
// which order a table gives them, now and after an interruption. Nothing: the picture is left alone.
std::optional<bool> is_validation(const Design& design, const Row& row) {
  if (!design.split_column) {
    constexpr double kUnit = 1.0 / 18446744073709551616.0;
    return static_cast<double>(mix(design.seed, crc32c(row.bytes(0)))) * kUnit < design.validation;
  }
  if (row.null(2)) return std::nullopt;
  if (row.text(2) == "train") return false;
  if (row.text(2) == "validation") return true;
  return std::nullopt;
}

void Job::send_pictures(AddImages& portion) {
  if (portion.images.empty()) return;
  AddReply reply = trainer_->ask_for<AddReply>(portion);
  rejected_ += static_cast<std::int64_t>(reply.rejected.size());
  std::set<std::uint32_t> rejected;
  for (const AddReply::Rejected& one : reply.rejected) rejected.insert(one.index);
  for (std::uint32_t i = 0; i < portion.images.size(); ++i) {
    if (rejected.contains(i) || portion.images[i].validation) continue;
    training_labels_.insert(portion.images[i].label);
    if (sample_files_.size() < kSampleFiles) sample_files_.push_back(std::move(portion.images[i].file));
  }
  loaded_ = std::move(reply);
  portion.images.clear();
}

// What a view runs as this process may have released every advisory lock.
void Job::keep_lock() {
  Transaction transaction;
  if (!lock_design(id_)) throw Error(Fault::internal, "another worker has taken the design over");
  transaction.commit();
}

// A relation that was dropped has no name any more.
void check_relation_exists(std::int64_t id) {
  SqlScope sql(SqlScope::As::superuser);
  if (sql.run("SELECT FROM imagecalc.design AS d JOIN pg_class AS c ON c.oid = to_regclass(d.relation) WHERE d.id = $1", {id}).empty())
    throw Error(Fault::invalid_argument, "the table of design " + std::to_string(id) + " does not exist any more",
                "Design on another one with ic_design.");
}

// Reads the table as the role that asked for the design, with its privileges and row security.
void Job::load_pictures() {
  tell("loading pictures", std::nullopt, std::nullopt, true);
  std::map<std::string, std::uint32_t> places;
  for (const std::string& label : design_.labels) places.emplace(label, static_cast<std::uint32_t>(places.size()));

  Transaction transaction;
  check_relation_exists(id_);
  {
    SqlScope sql(design_.owner);
    const std::string count = "SELECT count(*), (SELECT relkind FROM pg_class WHERE oid = " + quote_text(design_.relation) +
                              "::regclass) FROM " + design_.relation;
    const Row totals = sql.run(count.c_str()).at(0);
    const bool can_sample = std::string_view("rpm").find(totals.text(1)) != std::string_view::npos;
    const std::string query = picture_query(design_, totals.integer(0), can_sample);
    AddImages portion;
    std::size_t bytes = 0;
    sql.each(query.c_str(), [&](Row&& row) {
      const std::optional<bool> validation = is_validation(design_, row);
      const auto place = places.find(row.text(1));
      if (!validation || place == places.end()) return;  // a label that came after the call is not the model's
      portion.images.push_back({row.blob(0), place->second, *validation});
      bytes += portion.images.back().file.size();
      if (portion.images.size() < kPortionImages && bytes < kPortionBytes) return;
      send_pictures(portion);
      bytes = 0;
    });
    send_pictures(portion);
  }
  transaction.commit();
  keep_lock();
  check_pictures();

  Transaction record;
  {
    SqlScope sql(SqlScope::As::superuser);
    sql.run("UPDATE imagecalc.design SET training_images = $2, validation_images = $3, rejected_images = $4 WHERE id = $1",
            {id_, static_cast<std::int64_t>(loaded_.training), static_cast<std::int64_t>(loaded_.validation), rejected_});
  }
  record.commit();
}

void Job::check_pictures() const {
  if (loaded_.training < 2 || loaded_.validation < 1)
    throw Error(Fault::invalid_argument, "there are " + std::to_string(loaded_.training) + " training and " +
                    std::to_string(loaded_.validation) + " validation pictures (" + std::to_string(rejected_) + " could not be read)",
                design_.split_column ? "The split column says train or validation." : "The table needs more pictures that can be read.");
  for (std::uint32_t label = 0; label < design_.labels.size(); ++label)
    if (!training_labels_.contains(label))
      throw Error(Fault::invalid_argument, "label \"" + design_.labels[label] + "\" has no training picture",
                  "Each label needs some among the training pictures.");
}

// ---- costs

void Job::measure_costs() {
  if (!candidates_.empty()) return;  // measured before an interruption
  MeasureStorage request;
  request.sample = design_.compression_level < kSlowLevel ? kStorageSample : kSlowStorageSample;
  request.compression_level = static_cast<std::uint32_t>(design_.compression_level);
  tell("measuring storage", 0, std::nullopt, true);
  const auto storage = trainer_->ask_for<StorageReply>(request, [&](const Progress& progress) {
    tell("measuring storage", static_cast<int>(progress.step), static_cast<int>(progress.steps));
  });
  const auto with_stem = [&](int kernel) {
    return trainer_->ask_for<StemReply>(MakeStem{static_cast<std::uint32_t>(kernel)}, [](const Progress&) {}).model;
  };
  const LatencyFindings latency = measure_latency(design_, model_, model_hash_, sample_files_, storage.mean_bytes, with_stem,
                                                  [&](int step, int steps) { tell("measuring latency", step, steps); });
  const std::vector<CandidateRow> rows = price(storage, latency);

  Transaction transaction;
  insert_candidates(id_, rows);
  if (latency.rgb) {
    SqlScope sql(SqlScope::As::superuser);
    sql.run("UPDATE imagecalc.design SET jpeg_bytes = $2, jpeg_fetch_us = $3, jpeg_decode_us = $4, jpeg_transfer_us = $5, "
            "jpeg_model_us = $6 WHERE id = $1", {id_, latency.mean_file_bytes, latency.rgb->fetch, latency.rgb->decode,
                                                 latency.rgb->transfer, latency.rgb->model});
  }
  transaction.commit();
  Transaction reload;
  candidates_ = load_candidates(id_);
  reload.commit();
}

std::vector<CandidateRow> Job::price(const StorageReply& storage, const LatencyFindings& latency) const {
  const std::vector<Format> formats = design_space(design_.size);
  if (storage.mean_bytes.size() != formats.size() || storage.deviation.size() != formats.size())
    throw Error(Fault::protocol, "the training runner measured another number of formats than there are");
  std::vector<CandidateRow> rows;
  for (bool stem : {false, true}) {
    const LatencyTable& table = stem ? latency.stems : latency.plain;
    if (table.samples.empty()) continue;
    std::set<Format> measured;
    for (const LatencySample& sample : table.samples) measured.insert(sample.format);
    const LatencyModel model(table.samples, stem), single(table.singles, stem);
    for (std::size_t i = 0; i < formats.size(); ++i) {
      if (stem && !may_have_stem(formats[i])) continue;
      CandidateRow row;
      row.format = formats[i];
      row.stem = stem;
      row.bytes = storage.mean_bytes[i];
      row.bytes_deviation = storage.deviation[i];
      row.latency = model.predict(row.format, row.bytes);
      row.single_latency_us = single.predict(row.format, row.bytes).total();
      row.latency_measured = measured.contains(row.format);
      const auto refusal = table.refusals.find(map_size(row.format, stem));
      if (refusal != table.refusals.end()) row.refusal = refusal->second;
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

// ---- trials

[[noreturn]] void throw_no_candidate(const Design& design, const std::vector<CandidateRow>& candidates) {
  double fastest = 0, smallest = 0;
  std::string refusal;
  for (const CandidateRow& row : candidates) {
    if (row.refusal) {
      refusal = *row.refusal;
      continue;
    }
    fastest = fastest == 0 ? row.latency.total() : std::min(fastest, row.latency.total());
    smallest = smallest == 0 ? row.bytes : std::min(smallest, row.bytes);
  }
  if (fastest == 0)
    throw Error(Fault::bad_model, "the model refuses every tensor size of the design space: " + refusal,
                "Choose another size, or a model that takes small inputs.");
  throw Error(Fault::invalid_argument, "no format meets the budgets",
              "On this machine the fastest takes " + std::to_string(static_cast<int>(fastest)) + " us an image, the smallest " +
                  std::to_string(static_cast<int>(smallest)) + " bytes, at size " + std::to_string(design.size) + ".");
}

void Job::search() {
  while (true) {
    const Search search(search_candidates(candidates_), design_.search, design_.budgets);
    if (!search.feasible()) throw_no_candidate(design_, candidates_);
    const std::vector<TrialPlan> plans = search.next_together(search_trials(trials_), at_once_);
    if (plans.empty()) return conclude(search);
    to_go_ = search.remaining(search_trials(trials_));
    run_trials(plans);
  }
}

// What each of them is for.
std::string describe(const std::vector<TrialPlan>& plans, const std::vector<CandidateRow>& candidates) {
  std::string text;
  for (const TrialPlan& plan : plans) {
    if (!text.empty()) text += ", ";
    if (plan.kind == TrialKind::reference) {
      text += "training on RGB";
      continue;
    }
    const CandidateRow& candidate = candidates[*plan.candidate];
    text += (plan.kind == TrialKind::final ? "final training of " : "trying ") + name_of(candidate.format, candidate.stem);
  }
  return text;
}

// Trains them at the same time, and commits what came of each, in their order. One that fails takes no other with it.
void Job::run_trials(const std::vector<TrialPlan>& plans) {
  const int first = next_number(), last = first + static_cast<int>(plans.size()) - 1;
  const std::string phase = (first == last ? "trial " : "trials " + std::to_string(first) + " to ") + std::to_string(last) + ", " +
                            describe(plans, candidates_);
  tell(phase, 0, std::nullopt, true);
  std::vector<TrialRow> rows;
  std::vector<Train> requests;
  for (const TrialPlan& plan : plans) {
    rows.push_back(row_for(plan, first + static_cast<int>(rows.size())));
    requests.push_back(request_for(plan, rows.back()));
  }
  const std::vector<Message> replies = trainer_->train(std::move(requests), [&](const Progress& progress) {
    tell(phase + ", epoch", static_cast<int>(progress.step), static_cast<int>(progress.steps));
  });
  const Failure* worst = nullptr;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const auto* reply = std::get_if<TrainReply>(&replies[i]);
    const auto* failure = std::get_if<Failure>(&replies[i]);
    if (reply) {
      record(rows[i], *reply);
    } else if (failure && failure->fault == Fault::bad_model && rows[i].format && plans[i].kind != TrialKind::final) {
      record_refusal(rows[i], failure->message);
    } else if (failure) {
      worst = worst ? worst : failure;
    } else {
      throw Error(Fault::protocol, "unexpected reply from the training runner");
    }
  }
  if (worst) throw_failure(*worst);
}

TrialRow Job::row_for(const TrialPlan& plan, int number) const {
  TrialRow row;
  row.trial = {.number = number, .kind = plan.kind, .candidate = plan.candidate, .accuracy = 0, .halfway = {}};
  row.parent = plan.parent;
  if (plan.candidate) {
    row.format = candidates_[*plan.candidate].format;
    row.stem = candidates_[*plan.candidate].stem;
  }
  return row;
}

Train Job::request_for(const TrialPlan& plan, const TrialRow& row) const {
  Train request;
  if (row.format) {
    request.input.format = *row.format;
    request.stem = row.stem ? static_cast<std::uint32_t>(row.format->kept) : 0;
  } else {
    request.input = {.rgb = true, .rgb_size = design_.size, .format = {}};
  }
  request.epochs = static_cast<std::uint32_t>(epochs_of(plan.kind));
  // All of these look halfway, so that it is known how much is gained after it.
  if (plan.kind == TrialKind::transfer) request.least_halfway = static_cast<float>(plan.least_halfway.value_or(0));
  request.seed = mix(design_.seed, static_cast<std::uint64_t>(row.trial.number));
  request.try_bf16 = plan.kind == TrialKind::final || plan.kind == TrialKind::reference;  // these become models
  if (plan.parent) {
    Transaction transaction;
    request.start_from = load_weights(id_, *plan.parent);
    transaction.commit();
  }
  return request;
}

// Of those that ran together others may have been refused: the numbers of trials have no gaps.
void Job::record(TrialRow row, const TrainReply& reply) {
  row.trial.number = next_number();
  row.trial.accuracy = reply.accuracy;
  if (reply.halfway_accuracy) row.trial.halfway = *reply.halfway_accuracy;
  row.epochs = static_cast<int>(reply.epochs);
  row.trial.stopped = row.epochs < epochs_of(row.trial.kind);
  row.top5_accuracy = reply.top5_accuracy;
  row.loss = reply.loss;
  row.seconds = reply.seconds;
  if (reply.bf16_accuracy) row.bf16_accuracy = *reply.bf16_accuracy;
  row.normalisation = reply.normalisation;
  trials_.push_back(row);
  predict(design_, trials_, candidates_);
  Transaction transaction;
  insert_trial(id_, row, reply.weights);
  store_predictions(id_, candidates_);
  transaction.commit();
}

// A tensor size that the model turns out to refuse: those formats are out, the search goes on.
void Job::record_refusal(const TrialRow& row, const std::string& message) {
  const TensorSize size = map_size(*row.format, row.stem);
  std::vector<Format> refused;
  for (CandidateRow& candidate : candidates_) {
    if (candidate.stem != row.stem || map_size(candidate.format, candidate.stem) != size) continue;
    candidate.refusal = message;
    refused.push_back(candidate.format);
  }
  predict(design_, trials_, candidates_);
  Transaction transaction;
  refuse_candidates(id_, refused, row.stem, message);
  store_predictions(id_, candidates_);
  transaction.commit();
}

// ---- the end

void register_trial(const Design& design, const TrialRow& trial, const std::string& name, const ModelInput& input) {
  const Blob weights = load_weights(design.id, trial.trial.number);
  Model model;
  model.name = name;
  model.hash = hash_model(weights);
  model.input = input;
  model.normalisation = trial.normalisation;
  model.labels = design.labels;
  if (trial.bf16_accuracy) model.bf16_accuracy_loss = trial.trial.accuracy - *trial.bf16_accuracy;
  insert_model(model, design.owner, weights, design.id);
}

// The finalists' weights, and the best of each sampled bucket: enough to train on from any of them.
std::vector<int> weights_to_keep(const Search& search, const std::vector<TrialRow>& trials) {
  std::map<int, const TrialRow*> best;
  std::vector<int> kept;
  for (const TrialRow& row : trials) {
    if (row.trial.kind == TrialKind::final) kept.push_back(row.trial.number);
    if (!row.trial.candidate || row.trial.kind == TrialKind::final || row.trial.stopped) continue;
    const std::optional<int> bucket = search.bucket(*row.trial.candidate);
    if (!bucket) continue;
    const TrialRow*& place = best[*bucket];
    if (!place || row.trial.accuracy > place->trial.accuracy) place = &row;
  }
  for (const auto& [bucket, row] : best) kept.push_back(row->trial.number);
  return kept;
}

// Registers the models and says done, in one transaction.
void Job::conclude(const Search& search) {
  const auto choice = search.choose(search_trials(trials_));
  const TrialRow* reference = find_reference(trials_);
  if (!choice) {
    const std::string loss = reference ? ", which reached " + std::to_string(reference->trial.accuracy) : "";
    throw Error(Fault::invalid_argument, "no format that was tried keeps within max_accuracy_loss of the model on RGB" + loss,
                "SELECT * FROM ic_trials(" + std::to_string(id_) + ") shows what was reached. Allow more loss, latency or storage, or "
                "more epochs.");
  }
  const TrialRow& chosen = *std::find_if(trials_.begin(), trials_.end(), [&](const TrialRow& row) {
    return row.trial.kind == TrialKind::final && row.trial.candidate == choice;
  });
  const std::string phase = search.keeps_budgets(search_trials(trials_)) ? "done" : "done, but it loses more than max_accuracy_loss";
  const double encode_us = time_encode(sample_files_, *chosen.format, design_.compression_level);
  Transaction transaction;
  register_trial(design_, chosen, design_.model_name, {.rgb = false, .rgb_size = 0, .format = *chosen.format});
  if (reference)
    register_trial(design_, *reference, design_.model_name + "_rgb", {.rgb = true, .rgb_size = design_.size, .format = {}});
  delete_weights_except(id_, weights_to_keep(search, trials_));
  {
    SqlScope sql(SqlScope::As::superuser);
    sql.run("UPDATE imagecalc.design SET state = 'done', phase = $5, step = NULL, steps = NULL, eta = NULL, error = NULL, "
            "chosen = $2, model = $3, encode_us = $4, finished_at = clock_timestamp() WHERE id = $1",
            {id_, chosen.trial.number, design_.model_name, encode_us, phase});
  }
  transaction.commit();
}

void Job::run() {
  begin();
  load_pictures();
  measure_costs();
  search();
}

// ---- the process

// Says truthfully how a design ended that did not end well.
void record_failure(std::int64_t id, const ErrorReport& report) {
  const bool cancelled = report.postgres_error ? report.postgres_error->sqlerrcode == ERRCODE_QUERY_CANCELED
                                               : report.fault == Fault::cancelled;
  std::string message = report.postgres_error ? report.postgres_error->message : report.message;
  const char* hint = report.postgres_error ? report.postgres_error->hint : report.hint;
  if (hint && *hint) message += std::string(". ") + hint;
  QueryCancelPending = false;
  Transaction transaction;
  {
    SqlScope sql(SqlScope::As::superuser);
    sql.run("UPDATE imagecalc.design SET state = $2, error = $3, eta = NULL, finished_at = clock_timestamp() "
            "WHERE id = $1 AND state IN ('queued', 'running')",
            {id, cancelled ? "cancelled" : "failed", cancelled ? std::nullopt : std::optional(message)});
  }
  transaction.commit();
  if (cancelled) return;
  const char* text = message.c_str();
  pg([&] { ereport(LOG, (errmsg("imagecalc design %lld failed: %s", static_cast<long long>(id), text))); });
}

// The design's row is there once the transaction that made it has committed.
void wait_for_caller(TransactionId caller) {
  Transaction transaction;
  pg([&] { XactLockTableWait(caller, nullptr, nullptr, XLTW_None); });
  transaction.commit();
}

// Waits while a worker that has just ended the design lets go of it.
bool lock_in_time(std::int64_t id) {
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    Transaction transaction;
    const bool locked = lock_design(id);
    transaction.commit();
    if (locked) return true;
    check_for_interrupts();
    pg_usleep(100'000);
  }
  return false;
}

// A place among the designs that may be at work on the server at a time; it is kept as long as this process lives. Places are
// advisory locks in no database, of a kind (4) that the SQL functions cannot take.
bool take_place() {
  constexpr uint32 kDesigns = 0x1CDE516;
  return pg([&] {
    for (int place = 0; place < setting_max_design_workers; ++place) {
      LOCKTAG tag;
      SET_LOCKTAG_ADVISORY(tag, InvalidOid, kDesigns, static_cast<uint32>(place), 4);
      if (LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL) return true;
    }
    return false;
  });
}

void wait_for_place(std::int64_t id) {
  constexpr long kAskEveryUs = 200'000;
  for (bool told = false;; told = true) {
    Transaction transaction;
    const bool taken = take_place();
    if (!taken && !told) {
      SqlScope sql(SqlScope::As::superuser);
      sql.run("UPDATE imagecalc.design SET phase = 'waiting for other designs' WHERE id = $1 AND state = 'queued'", {id});
    }
    transaction.commit();
    if (taken) return;
    pg_usleep(kAskEveryUs);
    check_for_interrupts();
    if (ConfigReloadPending) {
      ConfigReloadPending = false;
      pg([] { ProcessConfigFile(PGC_SIGHUP); });
    }
  }
}

void run_job(const Errand& errand) {
  wait_for_caller(errand.caller);
  wait_for_place(errand.design);
  Job job(errand.design);
  if (job.claim()) job.run();
}

void work(const Errand& errand) {
  if (!lock_in_time(errand.design)) return;
  ErrorReport report;
  try {
    return run_job(errand);
  } catch (...) {
    report = describe_exception();
  }
  record_failure(errand.design, report);
}

}  // namespace

void imagecalc::start_design_worker(std::int64_t design) {
  const Errand errand{MyDatabaseId, pg([] { return GetTopTransactionId(); }), design};
  BackgroundWorker worker{};
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
  worker.bgw_restart_time = BGW_NEVER_RESTART;  // ic_resume does it, when somebody wants it
  strlcpy(worker.bgw_library_name, "imagecalc", BGW_MAXLEN);
  strlcpy(worker.bgw_function_name, "imagecalc_design_main", BGW_MAXLEN);
  snprintf(worker.bgw_name, BGW_MAXLEN, "imagecalc design %lld", static_cast<long long>(design));
  strlcpy(worker.bgw_type, "imagecalc design", BGW_MAXLEN);
  std::memcpy(worker.bgw_extra, &errand, sizeof errand);
  if (!pg([&] { return RegisterDynamicBackgroundWorker(&worker, nullptr); }))
    throw Error(Fault::unavailable, "no background worker slot is free for the design",
                "Raise max_worker_processes, or wait until another worker ends.");
}

void imagecalc_design_main(Datum) {
  Errand errand;
  std::memcpy(&errand, MyBgworkerEntry->bgw_extra, sizeof errand);
  pqsignal(SIGINT, StatementCancelHandler);
  pqsignal(SIGTERM, die);
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  BackgroundWorkerUnblockSignals();
  BackgroundWorkerInitializeConnectionByOid(errand.database, InvalidOid, 0);
  pgstat_report_appname(MyBgworkerEntry->bgw_name);
  // The same rows in the same order at every run.
  SetConfigOption("synchronize_seqscans", "off", PGC_USERSET, PGC_S_SESSION);
  SetConfigOption("max_parallel_workers_per_gather", "0", PGC_USERSET, PGC_S_SESSION);
  wall([&] { work(errand); });
}
