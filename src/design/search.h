// The calculator's search: which format to train next, what the trainings so far predict, and what to choose.
//
// Source: Sirin & Idreos, section 4.3, for what is sampled: candidates are ordered from most to least compressing (by mean
// predicted bytes) and cut into equal buckets, some of which are trained in. What the trials tell of the other formats is the
// accuracy model's to say (accuracy.h); the paper's own curve, a bucket's best trial with unsampled buckets interpolated,
//   acc_i = acc_j + (acc_k - acc_j)/(k - j) * (i - j)   between the sampled buckets j < i < k,
// is 5 to 6 points too high for a format that is taken from its bucket.
//
// The search is a pure function of the candidates, the settings and the trials so far: a job that was interrupted goes on by
// calling it again with the trials that were committed.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "design/accuracy.h"

namespace imagecalc {

struct Candidate {
  Format format;
  double bytes = 0;       // mean predicted bytes of a value
  double latency_us = 0;  // predicted, an image, all components
  bool accepted = true;   // the model takes a tensor of this size
  bool stem = false;      // it begins with a convolution over a block's coefficients, k x k at a stride of k
};

// Absent ones do not bind. max_accuracy_loss: 0..1 below the reference, the same model trained the same way on RGB.
struct Budgets {
  std::optional<double> latency_us;
  std::optional<double> bytes;
  std::optional<double> max_accuracy_loss;
};

struct SearchSettings {
  int buckets = 16;            // >= 2
  int sampled_buckets = 6;     // 2..buckets
  int trials_per_bucket = 6;   // >= 1
  bool explore_all = false;    // also train formats that the budgets exclude (never those that the model refuses)
  bool train_reference = false;  // train on RGB even where no max_accuracy_loss asks for it
};

enum class TrialKind {
  reference,  // on RGB
  scratch,    // from the file's weights, all epochs
  transfer,   // from another trial's weights, few epochs
  final       // a finalist, from the file's weights, all epochs
};

struct Trial {
  int number = 0;  // 1, 2, ... as they were run
  TrialKind kind = TrialKind::scratch;
  std::optional<std::size_t> candidate;  // absent for the reference
  double accuracy = 0;                   // 0..1 on the validation set
  std::optional<double> halfway;         // after half of its epochs, where that was measured
  bool stopped = false;                  // there: that is its accuracy, too
  bool running = false;                  // still: its accuracy is a guess, and there are no weights to hand down
};

// What to run next.
struct TrialPlan {
  TrialKind kind = TrialKind::scratch;
  std::optional<std::size_t> candidate;
  std::optional<int> parent;  // the trial whose weights are handed down
  std::optional<double> least_halfway;  // with a lower accuracy after half of the epochs it cannot be chosen, and may stop there
};

// Trainings to come, at most.
struct Remaining {
  int full = 0, transfers = 0;  // of all epochs; of weights that are handed down
};

// Accuracy of a candidate as the trials so far tell it. For a measured one all three are what was measured. Else it is what
// the accuracy model expects; nine of ten trainings of the format, each with a seed of its own, end between low and high.
struct Prediction {
  double accuracy = 0, low = 0, high = 0;
  bool measured = false;
};

class Search {
 public:
  // Keeps references to nothing. Error(invalid_argument) where there is no candidate or a setting is out of its range.
  Search(std::vector<Candidate> candidates, const SearchSettings& settings, const Budgets& budgets);

  // How many candidates may be trained: accepted, and within the latency and storage budgets unless explore_all.
  std::size_t trainable() const { return ordered_.size(); }

  // Whether any of them is within the budgets: without one there is nothing to choose, and next() gives nothing.
  bool feasible() const { return feasible_; }

  // 0 (most compressing) .. buckets-1 of a candidate, or nothing where it may not be trained. There are fewer buckets than
  // asked where there are fewer trainable candidates.
  std::optional<int> bucket(std::size_t candidate) const;

  // The next trial, or nothing when all that was asked has been trained, or nothing can meet the budgets.
  // Order: the reference if one is wanted; the least compressing bucket; the most compressing; then between sampled
  // neighbours where the curve bends most or is least certain; within a bucket spread evenly by bytes from least to most
  // compressing, and before the first of a block size its least compressing one; then, one by one, the format that promises most
  // to be a better choice; at last the finalists, one or two. Where no format promises anything any more the rest of the sampling
  // is left out, unless all is to be explored.
  std::optional<TrialPlan> next(const std::vector<Trial>& trials) const;

  // The next trials, `most` at most, for as many devices to train at once; none when next() has none. Each is what next() would
  // say if those before it had ended as predicted (Ginsbourger, Le Riche and Carraro, Kriging is well-suited to parallelize
  // optimization, 2010), as long as it waits for none of them: for weights, for where to sample next, or as a finalist for what is
  // still explored.
  std::vector<TrialPlan> next_together(std::vector<Trial> trials, std::size_t most) const;

  // What is still to be trained after these, reference and finalists included: for progress.
  Remaining remaining(const std::vector<Trial>& trials) const;

  // One for each candidate; nothing for those outside every bucket or while no trial has ended.
  std::vector<std::optional<Prediction>> predict(const std::vector<Trial>& trials) const;

  // The best of the finalists under the budgets, as long as there is none the best of those measured: the most accurate, ties to
  // lower latency, then fewer bytes; with max_accuracy_loss the lowest latency that keeps it. Nothing where none qualifies; of
  // finalists that do not keep the loss after all the most accurate one.
  std::optional<std::size_t> choose(const std::vector<Trial>& trials) const;

  // Whether the choice keeps all budgets: one among finalists may lose more than max_accuracy_loss after all.
  bool keeps_budgets(const std::vector<Trial>& trials) const;

 private:
  struct Record;

  // Candidates among which weights are handed down: of one block size, with a stem or without.
  using Family = std::pair<int, bool>;
  static Family family(const Candidate& candidate) { return {candidate.format.block, candidate.stem}; }

  bool within_budgets(const Candidate& candidate) const;
  bool wants_reference() const { return budgets_.max_accuracy_loss.has_value() || settings_.train_reference; }
  int bucket_count() const;
  int most_explorations() const;
  std::size_t bucket_begin(int bucket) const;
  std::vector<std::size_t> spread(int bucket) const;

  AccuracyModel::Estimate estimate(const AccuracyModel& model, std::size_t candidate) const;
  Record read(const std::vector<Trial>& trials) const;
  std::optional<int> next_bucket(std::vector<int> sampled, const Record& record) const;
  std::vector<AccuracySample> samples_of(const std::vector<int>& buckets, const Record& record) const;
  TrialPlan training_of(std::size_t candidate, const Record& record) const;
  std::optional<std::size_t> most_promising(const Record& record) const;
  double promise(std::size_t candidate, const AccuracyModel& model, const Record& record,
                 const std::optional<std::pair<std::size_t, double>>& choice) const;
  std::optional<double> least_halfway(std::size_t candidate, const Record& record) const;
  std::optional<TrialPlan> refine(const std::vector<int>& sampled, const Record& record) const;
  std::optional<TrialPlan> explore(const Record& record) const;
  std::optional<TrialPlan> next_finalist(const Record& record) const;
  Trial guess(const TrialPlan& plan, const std::vector<Trial>& trials, const Record& record) const;
  bool waits_for(const std::vector<TrialPlan>& running, const TrialPlan& plan, const Record& record) const;
  bool opens_later_bucket(const TrialPlan& plan, const Record& record) const;
  std::optional<std::size_t> best(const std::vector<std::optional<double>>& accuracy, const Record& record) const;

  std::vector<Candidate> candidates_;
  SearchSettings settings_;
  Budgets budgets_;
  std::vector<std::size_t> ordered_;                  // the trainable ones, most compressing first
  std::vector<std::optional<std::size_t>> position_;  // of a candidate in ordered_
  std::map<Family, std::size_t> roots_;               // the least compressing trainable one of each
  bool feasible_ = false;                             // at least one trainable candidate is within the budgets
};

// Marks the formats that no other beats: none is at least as good in accuracy, latency and bytes and better in one.
struct Objective {
  double accuracy = 0, latency_us = 0, bytes = 0;
};
std::vector<bool> pareto(const std::vector<Objective>& objectives);

}  // namespace imagecalc
