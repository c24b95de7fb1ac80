#include "design/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>
#include <numeric>
#include <set>
#include <tuple>

#include "format/error.h"

namespace imagecalc {
namespace {

constexpr int kMaxRefinements = 2;
constexpr int kFinalists = 2;

// A format promises too little where a training is expected to improve the choice by less than a tenth of a point, or where a
// latency is to be saved, by less than two per cent of it.
constexpr double kLeastAccuracyGain = 0.001;
constexpr double kLeastLatencyGain = 0.02;
constexpr double kLeastChance = 0.2;  // that a fast format is accurate enough: else the fastest ones, which are not, would be tried

// A trial stops halfway where it would have to gain more in the rest of its epochs than others of its block size did: by two
// deviations more than their mean, of so many others at least.
constexpr int kFewestGains = 6;
constexpr double kSureDeviations = 2;
constexpr int kMostStops = 3;  // in a row: if those that promised most cannot be chosen, the others cannot either

// Accuracies come as 32-bit floats: a loss that is exactly the allowed one must not fail by their rounding. Less than one
// picture in a million.
constexpr double kAccuracySlack = 1e-6;

void check_setting(bool valid, const char* message, const char* hint) {
  if (!valid) throw Error(Fault::invalid_argument, message, hint);
}

void check_settings(const SearchSettings& settings) {
  check_setting(settings.buckets >= 2, "there must be at least 2 buckets", "Set buckets to 2 or more.");
  check_setting(settings.sampled_buckets >= 2 && settings.sampled_buckets <= settings.buckets,
                "the sampled buckets must be at least 2 and at most all buckets",
                "Set sampled_buckets to a value between 2 and buckets.");
  check_setting(settings.trials_per_bucket >= 1, "at least one format must be trained in a sampled bucket",
                "Set trials_per_bucket to 1 or more.");
}

// 0 of none.
double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / std::max(1.0, static_cast<double>(values.size()));
}

// What nearly no trial gains from halfway to its end, as far as these tell; nothing where they are too few. They are those that
// did not stop, which gained the most.
std::optional<double> largest_gain(const std::vector<double>& gains) {
  if (gains.size() < kFewestGains) return std::nullopt;
  const double mean = mean_of(gains);
  double squares = 0;
  for (double gain : gains) squares += (gain - mean) * (gain - mean);
  return mean + kSureDeviations * std::sqrt(squares / static_cast<double>(gains.size() - 1));
}

// Of two formats of one family, as far as weights are concerned: by how many doublings the kept coefficients differ; of more
// weight, along how many axes only one is halved, which moves every frequency; of little, by how many doublings the quantizer.
double unlikeness(const Format& a, const Format& b) {
  const auto doublings = [](double from, double to) { return std::abs(std::log2(to / from)); };
  const int axes = (halves_rows(a.subsampling) != halves_rows(b.subsampling)) +
                   (halves_columns(a.subsampling) != halves_columns(b.subsampling));
  return doublings(a.kept, b.kept) + 1.5 * axes + 0.1 * doublings(a.quantizer, b.quantizer);
}

// The standard normal distribution.
double density(double z) { return std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi); }
double probability_below(double z) { return std::erfc(-z / std::numbers::sqrt2) / 2; }

// How much more than `least` is to be expected of a normal variable, counting less as nothing (Jones, Schonlau and Welch,
// Efficient global optimization of expensive black-box functions, 1998).
double expected_gain(const AccuracyModel::Estimate& estimate, double least) {
  if (estimate.deviation <= 0) return std::max(0.0, estimate.mean - least);
  const double z = (estimate.mean - least) / estimate.deviation;
  return estimate.deviation * (density(z) + z * probability_below(z));
}

double probability_above(const AccuracyModel::Estimate& estimate, double least) {
  if (estimate.deviation <= 0) return estimate.mean >= least ? 1 : 0;
  return probability_below((estimate.mean - least) / estimate.deviation);
}

}  // namespace

// What the trials so far have told.
struct Search::Record {
  std::vector<std::optional<double>> measured;  // by candidate, its latest trial that belongs to the curve and ran to its end
  std::vector<bool> tried;                      // by candidate: measured, or stopped halfway
  std::vector<std::optional<double>> final;     // by candidate: more epochs, so no part of the curve
  std::vector<std::pair<std::size_t, int>> weights;  // what was trained to the end, and by which trial
  std::vector<AccuracySample> samples;          // all of them that ran to their end, final ones too
  std::optional<double> reference;
  std::map<Family, std::vector<double>> gains;  // of trials from halfway to their ends
  int stops = 0;       // how many trials stopped since the last one that did not
  std::vector<AccuracySample> stopped;          // the others, with what they would probably have reached
  int finalists = 0;
};

Search::Search(std::vector<Candidate> candidates, const SearchSettings& settings, const Budgets& budgets)
    : candidates_(std::move(candidates)), settings_(settings), budgets_(budgets), position_(candidates_.size()) {
  check_settings(settings_);
  check_setting(!candidates_.empty(), "there is no format to choose from", "Give at least one candidate format.");
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    const bool within = within_budgets(candidates_[i]);
    if (candidates_[i].accepted && (within || settings_.explore_all)) ordered_.push_back(i);
    feasible_ |= candidates_[i].accepted && within;
  }
  std::stable_sort(ordered_.begin(), ordered_.end(),
                   [this](std::size_t a, std::size_t b) { return candidates_[a].bytes < candidates_[b].bytes; });
  for (std::size_t i = 0; i < ordered_.size(); ++i) {
    position_[ordered_[i]] = i;
    roots_[family(candidates_[ordered_[i]])] = ordered_[i];
  }
}

bool Search::within_budgets(const Candidate& candidate) const {
  return (!budgets_.latency_us || candidate.latency_us <= *budgets_.latency_us) &&
         (!budgets_.bytes || candidate.bytes <= *budgets_.bytes);
}

int Search::bucket_count() const { return int(std::min<std::size_t>(settings_.buckets, ordered_.size())); }

// The first position in ordered_ that belongs to the bucket: position p is in bucket floor(p * buckets / trainable).
std::size_t Search::bucket_begin(int bucket) const {
  const std::size_t buckets = bucket_count();
  return (std::size_t(bucket) * ordered_.size() + buckets - 1) / buckets;
}

std::optional<int> Search::bucket(std::size_t candidate) const {
  if (candidate >= position_.size() || !position_[candidate]) return std::nullopt;
  return int(*position_[candidate] * bucket_count() / ordered_.size());
}

// The formats to train in a bucket, evenly by position from the least to the most compressing, both ends among them; the one
// in the middle where a single one is asked.
std::vector<std::size_t> Search::spread(int bucket) const {
  std::vector<std::size_t> members;
  for (std::size_t p = bucket_begin(bucket + 1); p-- > bucket_begin(bucket);) members.push_back(ordered_[p]);
  const std::size_t wanted = std::min<std::size_t>(settings_.trials_per_bucket, members.size());
  if (wanted == 1) return {members[(members.size() - 1) / 2]};
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < wanted; ++i) chosen.push_back(members[i * (members.size() - 1) / (wanted - 1)]);
  return chosen;
}

AccuracyModel::Estimate Search::estimate(const AccuracyModel& model, std::size_t candidate) const {
  const Candidate& asked = candidates_[candidate];
  return model.predict(asked.format, asked.stem, asked.bytes);
}

Search::Record Search::read(const std::vector<Trial>& trials) const {
  std::vector<Trial> sorted = trials;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Trial& a, const Trial& b) { return a.number < b.number; });
  Record record;
  record.measured.resize(candidates_.size());
  record.tried.resize(candidates_.size());
  record.final.resize(candidates_.size());
  for (const Trial& trial : sorted) {
    if (trial.kind == TrialKind::reference) record.reference = trial.accuracy;
    if (trial.kind == TrialKind::reference || !trial.candidate || *trial.candidate >= candidates_.size()) continue;
    const Candidate& candidate = candidates_[*trial.candidate];
    record.stops = trial.stopped ? record.stops + 1 : 0;
    if (trial.kind != TrialKind::final) record.tried[*trial.candidate] = true;
    if (trial.stopped) {
      const double probably = trial.accuracy + mean_of(record.gains[family(candidate)]);
      record.stopped.push_back({candidate.format, candidate.bytes, probably, candidate.stem, true});
      continue;
    }
    record.samples.push_back(
        {candidate.format, candidate.bytes, trial.accuracy, candidate.stem, trial.kind == TrialKind::transfer});
    if (trial.halfway) record.gains[family(candidate)].push_back(trial.accuracy - *trial.halfway);
    if (trial.kind == TrialKind::final) {
      ++record.finalists;
      record.final[*trial.candidate] = trial.accuracy;
    } else {
      record.measured[*trial.candidate] = trial.accuracy;
      if (!trial.running) record.weights.emplace_back(*trial.candidate, trial.number);
    }
  }
  return record;
}

// What the sampling of these buckets has trained, and nothing else: what is trained later must not change the order that led
// there.
std::vector<AccuracySample> Search::samples_of(const std::vector<int>& buckets, const Record& record) const {
  std::vector<AccuracySample> samples;
  for (int bucket : buckets) {
    for (std::size_t format : spread(bucket)) {
      if (auto accuracy = record.measured[format]) {
        const Candidate& candidate = candidates_[format];
        samples.push_back({candidate.format, candidate.bytes, *accuracy, candidate.stem, false});
      }
    }
  }
  return samples;
}

// The bucket to sample after these: both ends, then the middle of the gap between neighbours that it tells most of: where the
// curve bends, as its best trials draw it, or what lies between is uncertain.
std::optional<int> Search::next_bucket(std::vector<int> sampled, const Record& record) const {
  if (int(sampled.size()) >= std::min(settings_.sampled_buckets, bucket_count())) return std::nullopt;
  if (sampled.empty()) return bucket_count() - 1;
  if (sampled.size() == 1) return 0;
  std::sort(sampled.begin(), sampled.end());
  const AccuracyModel model(samples_of(sampled, record));
  auto accuracy = [&](int bucket) {
    double most = 0;
    for (std::size_t format : spread(bucket)) most = std::max(most, record.measured[format].value_or(0));
    return most;
  };
  auto uncertainty = [&](int bucket) {
    const std::size_t middle = ordered_[(bucket_begin(bucket) + bucket_begin(bucket + 1)) / 2];
    return estimate(model, middle).deviation;
  };
  std::optional<int> next;
  double most = -1;
  for (std::size_t i = 1; i < sampled.size(); ++i) {
    const int j = sampled[i - 1], k = sampled[i], middle = (j + k) / 2;
    if (k - j < 2) continue;
    const double worth = std::abs(accuracy(k) - accuracy(j)) + uncertainty(middle);
    if (worth <= most) continue;
    most = worth;
    next = middle;
  }
  return next;
}

// Weights are handed down within a block size, which decides what a place of the tensor means, with a stem or without, from the
// format that is most like this one, its latest trial where several are. Where there is none yet the least compressing format of
// them comes first, from the file's weights: what was trained on many coefficients soon gets on with few, but not the other way about.
TrialPlan Search::training_of(std::size_t candidate, const Record& record) const {
  const Candidate& wanted = candidates_[candidate];
  TrialPlan plan{.kind = TrialKind::scratch, .candidate = roots_.at(family(wanted)), .parent = {}, .least_halfway = {}};
  double nearest = std::numeric_limits<double>::infinity();
  for (const auto& [other, trial] : record.weights) {
    const double distance = unlikeness(candidates_[other].format, wanted.format);
    if (family(candidates_[other]) != family(wanted) || distance > nearest) continue;
    nearest = distance;
    plan = {.kind = TrialKind::transfer, .candidate = candidate, .parent = trial, .least_halfway = {}};
  }
  return plan;
}

// What training this format is expected to improve the choice by: accuracy, or where the fastest format is wanted, a part of
// its latency. choice: the best so far, and what the model makes of its accuracy.
double Search::promise(std::size_t candidate, const AccuracyModel& model, const Record& record,
                       const std::optional<std::pair<std::size_t, double>>& choice) const {
  const auto expected = estimate(model, candidate);
  if (!budgets_.max_accuracy_loss) return choice ? expected_gain(expected, choice->second) : 1;
  const double saved = choice ? 1 - candidates_[candidate].latency_us / candidates_[choice->first].latency_us : 1;
  if (saved <= 0) return 0;
  const double chance = probability_above(expected, record.reference.value_or(1) - *budgets_.max_accuracy_loss);
  return chance < kLeastChance && choice ? 0 : saved * chance;
}

// The format within the budgets whose training promises most, where that is enough. What stopped halfway tells that its
// neighbours are not worth it either.
std::optional<std::size_t> Search::most_promising(const Record& record) const {
  if (record.samples.empty()) return std::nullopt;
  std::vector<AccuracySample> samples = record.samples;
  samples.insert(samples.end(), record.stopped.begin(), record.stopped.end());
  const AccuracyModel model(samples);
  std::optional<std::pair<std::size_t, double>> choice;
  if (const auto known = best(record.measured, record)) {
    choice.emplace(*known, estimate(model, *known).mean);
  }
  std::optional<std::size_t> found;
  double most = budgets_.max_accuracy_loss ? kLeastLatencyGain : kLeastAccuracyGain;
  for (std::size_t candidate : ordered_) {
    if (record.tried[candidate] || !within_budgets(candidates_[candidate])) continue;
    const double promised = promise(candidate, model, record, choice);
    if (promised <= most) continue;
    most = promised;
    found = candidate;
  }
  return found;
}

// What a trial must reach halfway to be chosen after all, as far as the others of its block size tell.
std::optional<double> Search::least_halfway(std::size_t candidate, const Record& record) const {
  const auto gains = record.gains.find(family(candidates_[candidate]));
  const auto gain = gains == record.gains.end() ? std::nullopt : largest_gain(gains->second);
  if (!gain) return std::nullopt;
  if (budgets_.max_accuracy_loss) return record.reference.value_or(0) - *budgets_.max_accuracy_loss - *gain;
  const auto choice = best(record.measured, record);
  return choice ? std::optional(*record.measured[*choice] - *gain) : std::nullopt;
}

// The next trial beside those of the sampled buckets. These are for all predictions; this one is for the choice alone, and may
// stop where it cannot be that.
std::optional<TrialPlan> Search::refine(const std::vector<int>& sampled, const Record& record) const {
  std::vector<bool> planned(candidates_.size());
  for (int bucket : sampled) {
    for (std::size_t format : spread(bucket)) planned[format] = true;
  }
  int refinements = 0;
  for (std::size_t candidate : ordered_) refinements += record.tried[candidate] && !planned[candidate];
  if (refinements >= kMaxRefinements * settings_.trials_per_bucket || record.stops >= kMostStops) return std::nullopt;
  const auto candidate = most_promising(record);
  if (!candidate) return std::nullopt;
  TrialPlan plan = training_of(*candidate, record);
  if (plan.kind == TrialKind::transfer) plan.least_halfway = least_halfway(*candidate, record);
  return plan;
}

// The best under the budgets of those whose accuracy is given.
std::optional<std::size_t> Search::best(const std::vector<std::optional<double>>& accuracy, const Record& record) const {
  const auto loss = budgets_.max_accuracy_loss;
  if (loss && !record.reference) return std::nullopt;
  auto cost = [&](std::size_t i) {
    const Candidate& c = candidates_[i];
    return loss ? std::tuple(c.latency_us, -*accuracy[i], c.bytes) : std::tuple(-*accuracy[i], c.latency_us, c.bytes);
  };
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    if (!accuracy[i] || !candidates_[i].accepted || !within_budgets(candidates_[i])) continue;
    if (loss && *accuracy[i] < *record.reference - *loss - kAccuracySlack) continue;
    if (!found || cost(i) < cost(*found)) found = i;
  }
  return found;
}

// The next trial of a sampled bucket or, beside those, for the choice; nothing when none promises anything.
std::optional<TrialPlan> Search::explore(const Record& record) const {
  std::vector<int> sampled;
  while (const auto bucket = next_bucket(sampled, record)) {
    const bool may_stop = sampled.size() >= 2 && !settings_.explore_all && best(record.measured, record);
    const auto formats = spread(*bucket);
    const auto untried = std::find_if(formats.begin(), formats.end(), [&](std::size_t f) { return !record.tried[f]; });
    if (untried == formats.end()) {
      sampled.push_back(*bucket);
      continue;
    }
    if (may_stop && !most_promising(record)) break;
    return training_of(*untried, record);
  }
  return refine(sampled, record);
}

// Of formats that are about equally good the one that was measured best is as much lucky as it is good. So the second best is
// trained in full, too, where that is expected to give a better model; with an allowed loss, where the first one does not keep it.
std::optional<TrialPlan> Search::next_finalist(const Record& record) const {
  if (record.finalists >= kFinalists) return std::nullopt;
  const auto first = best(record.final, record);
  if (first && budgets_.max_accuracy_loss) return std::nullopt;
  auto others = record.measured;
  for (std::size_t i = 0; i < others.size(); ++i) {
    if (record.final[i]) others[i].reset();
  }
  const auto finalist = best(others, record);
  if (!finalist) return std::nullopt;
  if (first) {
    const auto expected = estimate(AccuracyModel(record.samples), *finalist);
    const double scatter = std::numbers::sqrt2 * expected.seed_deviation;  // between two trainings
    if (expected_gain({*others[*finalist], scatter}, *record.final[*first]) < kLeastAccuracyGain) return std::nullopt;
  }
  return TrialPlan{.kind = TrialKind::final, .candidate = finalist, .parent = {}, .least_halfway = {}};
}

std::optional<TrialPlan> Search::next(const std::vector<Trial>& trials) const {
  if (!feasible_) return std::nullopt;
  const Record record = read(trials);
  if (wants_reference() && !record.reference)
    return TrialPlan{.kind = TrialKind::reference, .candidate = {}, .parent = {}, .least_halfway = {}};
  if (record.finalists == 0) {
    if (auto plan = explore(record)) return plan;
  }
  return next_finalist(record);
}

// How a trial will end, as far as those before it tell; the reference perfectly, which is what is believed before it is known.
Trial Search::guess(const TrialPlan& plan, const std::vector<Trial>& trials, const Record& record) const {
  Trial trial{.kind = plan.kind, .candidate = plan.candidate, .accuracy = 1, .halfway = {}, .running = true};
  for (const Trial& other : trials) trial.number = std::max(trial.number, other.number);
  ++trial.number;
  if (!plan.candidate) return trial;
  const auto measured = record.measured[*plan.candidate];
  trial.accuracy = measured                 ? *measured
                   : record.samples.empty() ? 0
                                            : estimate(AccuracyModel(record.samples), *plan.candidate).mean;
  return trial;
}

// Whether it is the first of a bucket that was chosen by how trials in others ended: the third one or a later one.
bool Search::opens_later_bucket(const TrialPlan& plan, const Record& record) const {
  if (!plan.candidate) return false;
  const auto is_tried = [&](std::size_t format) { return record.tried[format]; };
  int sampled = 0;
  for (int other = 0; other < bucket_count(); ++other) {
    const auto formats = spread(other);
    const bool has_tried = std::any_of(formats.begin(), formats.end(), is_tried);
    const bool is_its = std::find(formats.begin(), formats.end(), *plan.candidate) != formats.end();
    if (is_its && has_tried) return false;
    if (other == bucket(*plan.candidate) && !is_its) return false;  // it is for the choice
    sampled += has_tried;
  }
  return sampled >= 2;
}

// Whether a plan that was made by guessing how these end is to be made when they have.
bool Search::waits_for(const std::vector<TrialPlan>& running, const TrialPlan& plan, const Record& record) const {
  // A root is asked for until its weights are there.
  const auto is_same = [&](const TrialPlan& other) { return other.kind == plan.kind && other.candidate == plan.candidate; };
  if (std::any_of(running.begin(), running.end(), is_same)) return true;
  if (plan.kind == TrialKind::final) return running.back().kind != TrialKind::final;
  return opens_later_bucket(plan, record);
}

std::vector<TrialPlan> Search::next_together(std::vector<Trial> trials, std::size_t most) const {
  auto plan = next(trials);
  if (!plan) return {};
  const Record ended = read(trials);
  std::vector<TrialPlan> plans{*plan};
  while (plans.size() < most) {
    trials.push_back(guess(plans.back(), trials, read(trials)));
    plan = next(trials);
    if (!plan || waits_for(plans, *plan, read(trials))) break;
    // By a guess that was too high it might stop without need.
    if (plan->least_halfway) plan->least_halfway = least_halfway(*plan->candidate, ended);
    plans.push_back(*plan);
  }
  return plans;
}

Remaining Search::remaining(const std::vector<Trial>& trials) const {
  if (!feasible_) return {};
  const Record record = read(trials);
  const int finalists = std::min(kFinalists, int(ordered_.size())) - record.finalists;
  if (record.finalists > 0) return {.full = finalists, .transfers = 0};
  std::set<Family> known;
  for (const auto& [candidate, trial] : record.weights) known.insert(family(candidates_[candidate]));
  const auto tried = std::count(record.tried.begin(), record.tried.end(), true);
  const int explorations = std::max(0, most_explorations() - int(tried));
  const int roots = std::min(int(roots_.size() - known.size()), explorations);
  const bool reference = wants_reference() && !record.reference;
  return {.full = reference + roots + finalists, .transfers = explorations - roots};
}

// Trials before the finalists, without the reference.
int Search::most_explorations() const {
  const int buckets = bucket_count(), sampled = std::min(settings_.sampled_buckets, buckets);
  const int largest_bucket = (int(ordered_.size()) + buckets - 1) / buckets;
  const int in_samples = sampled * std::min(settings_.trials_per_bucket, largest_bucket);
  const int others = std::max(kMaxRefinements * settings_.trials_per_bucket, int(roots_.size()));
  const int refinements = std::min(others, int(ordered_.size()) - in_samples);
  return in_samples + std::max(refinements, 0);
}

std::vector<std::optional<Prediction>> Search::predict(const std::vector<Trial>& trials) const {
  const Record record = read(trials);
  std::vector<std::optional<Prediction>> predictions(candidates_.size());
  if (record.samples.empty()) return predictions;
  const AccuracyModel model(record.samples);
  for (std::size_t candidate : ordered_) {
    const auto measured = record.final[candidate] ? record.final[candidate] : record.measured[candidate];
    if (measured) {
      predictions[candidate] = Prediction{.accuracy = *measured, .low = *measured, .high = *measured, .measured = true};
      continue;
    }
    const auto expected = estimate(model, candidate);
    predictions[candidate] = Prediction{.accuracy = expected.mean, .low = expected.low, .high = expected.high};
  }
  return predictions;
}

std::optional<std::size_t> Search::choose(const std::vector<Trial>& trials) const {
  const Record record = read(trials);
  if (record.finalists == 0) return best(record.measured, record);
  if (const auto choice = best(record.final, record)) return choice;
  return std::max_element(record.final.begin(), record.final.end()) - record.final.begin();
}

bool Search::keeps_budgets(const std::vector<Trial>& trials) const {
  const Record record = read(trials);
  return best(record.finalists == 0 ? record.measured : record.final, record).has_value();
}

// By falling accuracy, then rising latency and bytes, only an earlier one can beat a later one. Of those seen so far `least`
// keeps, by latency, the fewest bytes at that latency or less.
std::vector<bool> pareto(const std::vector<Objective>& objectives) {
  auto key = [&](std::size_t i) {
    const Objective& o = objectives[i];
    return std::tuple(-o.accuracy, o.latency_us, o.bytes);
  };
  std::vector<std::size_t> order(objectives.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });

  std::vector<bool> unbeaten(objectives.size());
  std::map<double, double> least;
  for (std::size_t n = 0; n < order.size(); ++n) {
    const std::size_t i = order[n];
    const auto [latency, bytes] = std::pair(objectives[i].latency_us, objectives[i].bytes);
    if (n > 0 && key(order[n - 1]) == key(i)) {  // equals do not beat each other
      unbeaten[i] = unbeaten[order[n - 1]];
      continue;
    }
    auto above = least.upper_bound(latency);
    unbeaten[i] = above == least.begin() || std::prev(above)->second > bytes;
    if (!unbeaten[i]) continue;
    auto beaten = least.lower_bound(latency);
    while (beaten != least.end() && beaten->second >= bytes) beaten = least.erase(beaten);
    least[latency] = bytes;
  }
  return unbeaten;
}

}  // namespace imagecalc
