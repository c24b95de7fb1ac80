#include "design/search.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <tuple>

#include "format/error.h"

namespace imagecalc {
namespace {

constexpr int kMaxRefinements = 3;

// A gap's width counts a little beside the bend of the curve, so that ends of equal accuracy still get looked between,
// the widest first.
constexpr double kWidthWeight = 0.01;

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

double interpolate(double at_j, double at_k, int j, int k, int i) { return at_j + (at_k - at_j) / (k - j) * (i - j); }

Prediction interpolate(const Prediction& at_j, const Prediction& at_k, int j, int k, int i) {
  return {.accuracy = interpolate(at_j.accuracy, at_k.accuracy, j, k, i),
          .low = interpolate(at_j.low, at_k.low, j, k, i),
          .high = interpolate(at_j.high, at_k.high, j, k, i)};
}

// Fills the unsampled buckets between their sampled neighbours; outside these the nearest one's values hold.
std::vector<Prediction> fill(const std::vector<std::optional<Prediction>>& sampled) {
  std::vector<Prediction> curve(sampled.size());
  std::optional<int> left;
  for (int bucket = 0; bucket < int(sampled.size()); ++bucket) {
    if (!sampled[bucket]) continue;
    curve[bucket] = *sampled[bucket];
    for (int i = left ? *left + 1 : 0; i < bucket; ++i) {
      curve[i] = left ? interpolate(curve[*left], curve[bucket], *left, bucket, i) : curve[bucket];
    }
    left = bucket;
  }
  for (std::size_t i = left ? *left + 1 : 0; left && i < curve.size(); ++i) curve[i] = curve[*left];
  return curve;
}

bool none(const std::vector<std::optional<Prediction>>& sampled) {
  return std::none_of(sampled.begin(), sampled.end(), [](const auto& bucket) { return bucket.has_value(); });
}

}  // namespace

// What the trials so far have told.
struct Search::Record {
  std::vector<std::optional<double>> measured;  // by candidate, its latest trial that belongs to the curve
  std::vector<std::optional<double>> final;     // by candidate: more epochs, so no part of the curve
  std::vector<std::optional<int>> last_trial;   // by bucket, of those that belong to the curve
  std::optional<double> reference;
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
  for (std::size_t i = 0; i < ordered_.size(); ++i) position_[ordered_[i]] = i;
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
std::vector<std::size_t> Search::spread(int bucket, bool only_within_budgets) const {
  std::vector<std::size_t> members;
  for (std::size_t p = bucket_begin(bucket + 1); p-- > bucket_begin(bucket);) {
    if (!only_within_budgets || within_budgets(candidates_[ordered_[p]])) members.push_back(ordered_[p]);
  }
  const std::size_t wanted = std::min<std::size_t>(settings_.trials_per_bucket, members.size());
  if (wanted == 1) return {members[(members.size() - 1) / 2]};
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < wanted; ++i) chosen.push_back(members[i * (members.size() - 1) / (wanted - 1)]);
  return chosen;
}

Search::Record Search::read(const std::vector<Trial>& trials) const {
  std::vector<Trial> sorted = trials;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Trial& a, const Trial& b) { return a.number < b.number; });
  Record record;
  record.measured.resize(candidates_.size());
  record.final.resize(candidates_.size());
  record.last_trial.resize(bucket_count());
  for (const Trial& trial : sorted) {
    if (trial.kind == TrialKind::reference) record.reference = trial.accuracy;
    if (trial.kind == TrialKind::reference || !trial.candidate || *trial.candidate >= candidates_.size()) continue;
    (trial.kind == TrialKind::final ? record.final : record.measured)[*trial.candidate] = trial.accuracy;
    if (trial.kind == TrialKind::final) continue;
    if (auto in = bucket(*trial.candidate)) record.last_trial[*in] = trial.number;
  }
  return record;
}

// The mean, worst and best of the trials of each bucket that has some.
std::vector<std::optional<Prediction>> Search::sampled_curve(const Record& record) const {
  std::vector<std::optional<Prediction>> curve(bucket_count());
  for (int bucket = 0; bucket < bucket_count(); ++bucket) {
    std::vector<double> found;
    for (std::size_t p = bucket_begin(bucket); p < bucket_begin(bucket + 1); ++p) {
      if (auto accuracy = record.measured[ordered_[p]]) found.push_back(*accuracy);
    }
    if (found.empty()) continue;
    const auto [low, high] = std::minmax_element(found.begin(), found.end());
    const double mean = std::accumulate(found.begin(), found.end(), 0.0) / double(found.size());
    curve[bucket] = Prediction{.accuracy = mean, .low = *low, .high = *high};
  }
  return curve;
}

// The bucket to sample after these: both ends, then the middle of the gap between neighbours where the curve bends most.
std::optional<int> Search::next_bucket(std::vector<int> sampled, const Record& record) const {
  if (int(sampled.size()) >= std::min(settings_.sampled_buckets, bucket_count())) return std::nullopt;
  if (sampled.empty()) return bucket_count() - 1;
  if (sampled.size() == 1) return 0;
  std::sort(sampled.begin(), sampled.end());
  // Of the formats that sampling trains, and no others: what is trained later must not change the order that led there.
  auto accuracy = [&](int bucket) {
    double most = 0;
    for (std::size_t format : spread(bucket, false)) most = std::max(most, record.measured[format].value_or(0));
    return most;
  };
  std::optional<int> middle;
  double most = -1;
  for (std::size_t i = 1; i < sampled.size(); ++i) {
    const int j = sampled[i - 1], k = sampled[i];
    const double bend = std::abs(accuracy(k) - accuracy(j)) + kWidthWeight * (k - j);
    if (k - j < 2 || bend <= most) continue;
    most = bend;
    middle = (j + k) / 2;
  }
  return middle;
}

// The first of these formats that has not been trained. Weights are handed down within the bucket, and into it from the
// nearest less compressing one; without a trial to take them from it starts from scratch.
std::optional<TrialPlan> Search::train_in(int bucket, const std::vector<std::size_t>& formats, const Record& record) const {
  auto untrained = [&](std::size_t candidate) { return !record.measured[candidate]; };
  const auto candidate = std::find_if(formats.begin(), formats.end(), untrained);
  if (candidate == formats.end()) return std::nullopt;
  std::optional<int> parent;
  for (int from = bucket; from < bucket_count() && !parent; ++from) parent = record.last_trial[from];
  return TrialPlan{.kind = parent ? TrialKind::transfer : TrialKind::scratch, .candidate = *candidate, .parent = parent};
}

// Whether the sampling of the curve trains a format of this bucket that may be chosen.
bool Search::covered(int bucket, const std::vector<int>& sampled) const {
  if (std::find(sampled.begin(), sampled.end(), bucket) == sampled.end()) return false;
  const auto formats = spread(bucket, false);
  return std::any_of(formats.begin(), formats.end(), [this](std::size_t f) { return within_budgets(candidates_[f]); });
}

// The next trial in a bucket where the choice is predicted to lie but no format has been told apart yet.
std::optional<TrialPlan> Search::refine(const std::vector<int>& sampled, const Record& record) const {
  auto measured = [&](std::size_t candidate) { return record.measured[candidate].has_value(); };
  auto touched = [&](const std::vector<std::size_t>& formats) {
    return std::any_of(formats.begin(), formats.end(), measured);
  };
  int refinements = 0;
  for (int bucket = 0; bucket < bucket_count(); ++bucket) {
    const auto formats = spread(bucket, true);
    if (covered(bucket, sampled) || !touched(formats)) continue;
    if (auto begun = train_in(bucket, formats, record)) return begun;
    ++refinements;
  }
  const auto choice = predicted_choice(record);
  if (!choice || refinements >= kMaxRefinements) return std::nullopt;
  const int bucket = *this->bucket(*choice);
  const auto formats = spread(bucket, true);
  if (covered(bucket, sampled) || touched(formats)) return std::nullopt;
  return train_in(bucket, formats, record);
}

// The choice if every format had its bucket's accuracy.
std::optional<std::size_t> Search::predicted_choice(const Record& record) const {
  const auto curve = fill(sampled_curve(record));
  std::vector<std::optional<double>> accuracy(candidates_.size());
  for (std::size_t candidate : ordered_) accuracy[candidate] = curve[*bucket(candidate)].high;
  return best(accuracy, record);
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

std::optional<TrialPlan> Search::next(const std::vector<Trial>& trials) const {
  if (!feasible_) return std::nullopt;
  const Record record = read(trials);
  if (wants_reference() && !record.reference) return TrialPlan{.kind = TrialKind::reference, .candidate = {}, .parent = {}};

  std::vector<int> sampled;
  while (const auto bucket = next_bucket(sampled, record)) {
    if (auto plan = train_in(*bucket, spread(*bucket, false), record)) return plan;
    sampled.push_back(*bucket);
  }
  if (auto plan = refine(sampled, record)) return plan;

  const auto choice = best(record.measured, record);
  if (!choice || record.final[*choice]) return std::nullopt;
  return TrialPlan{.kind = TrialKind::final, .candidate = choice, .parent = {}};
}

int Search::planned_trials() const {
  if (!feasible_) return 0;
  const int buckets = bucket_count(), sampled = std::min(settings_.sampled_buckets, buckets);
  // Where all is explored, a sampled bucket may still hold no trained format within the budgets.
  const int refined = std::min(kMaxRefinements, settings_.explore_all ? buckets : buckets - sampled);
  const int largest_bucket = (int(ordered_.size()) + buckets - 1) / buckets;
  const int in_a_bucket = std::min(settings_.trials_per_bucket, largest_bucket);
  return (wants_reference() ? 1 : 0) + (sampled + refined) * in_a_bucket + 1;
}

std::vector<std::optional<Prediction>> Search::predict(const std::vector<Trial>& trials) const {
  const Record record = read(trials);
  const auto sampled = sampled_curve(record);
  const auto curve = fill(sampled);
  const bool unknown = none(sampled);
  std::vector<std::optional<Prediction>> predictions(candidates_.size());
  for (std::size_t candidate : ordered_) {
    const auto measured = record.final[candidate] ? record.final[candidate] : record.measured[candidate];
    if (measured) {
      predictions[candidate] = Prediction{.accuracy = *measured, .low = *measured, .high = *measured, .measured = true};
    } else if (!unknown) {
      predictions[candidate] = curve[*bucket(candidate)];
    }
  }
  return predictions;
}

std::optional<std::size_t> Search::choose(const std::vector<Trial>& trials) const {
  const Record record = read(trials);
  return best(record.measured, record);
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
