// The search: buckets, the order of trials on made-up curves, resuming, budgets, predictions, the choice, the Pareto set.
#include "design/search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <random>
#include <set>

#include "format/error.h"

namespace imagecalc {
namespace {

using Curve = std::function<double(std::size_t)>;

// Candidate i has i+1 bytes and takes i+1 microseconds.
std::vector<Candidate> ladder(int count) {
  std::vector<Candidate> candidates(count);
  for (int i = 0; i < count; ++i) candidates[i] = {.format = {}, .bytes = i + 1.0, .latency_us = i + 1.0, .accepted = true, .stem = false};
  return candidates;
}

double rising(std::size_t i) { return 1 - std::exp(-double(i + 1) / 20); }

// Best at 99, with a tenth where it lies lowest.
double hill(std::size_t i) { return 0.9 - std::min(0.8, std::pow(std::log(double(i + 1) / 100), 2)); }

Trial ended(int number, TrialKind kind, std::optional<std::size_t> candidate, double accuracy) {
  return {.number = number, .kind = kind, .candidate = candidate, .accuracy = accuracy, .halfway = {}, .stopped = false};
}

Trial run(const TrialPlan& plan, std::size_t number, const Curve& accuracy) {
  // The reference is better, and a full training too.
  const double gain = plan.kind == TrialKind::final ? 0.02 : 0;
  const double result = plan.candidate ? accuracy(*plan.candidate) + gain : 0.95;
  return ended(int(number), plan.kind, plan.candidate, result);
}

struct History {
  std::vector<TrialPlan> plans;
  std::vector<Trial> trials;
  std::size_t rounds = 0;  // where several run at a time
};

History simulate(const Search& search, const Curve& accuracy) {
  History whole;
  while (auto plan = search.next(whole.trials)) {
    whole.plans.push_back(*plan);
    whole.trials.push_back(run(*plan, whole.trials.size() + 1, accuracy));
    if (whole.trials.size() > 1000) throw std::runtime_error("the search does not end");
  }
  return whole;
}

bool same(const TrialPlan& a, const TrialPlan& b) {
  return a.kind == b.kind && a.candidate == b.candidate && a.parent == b.parent;
}

// How many trials came before the finalists.
std::size_t explorations(const History& whole) {
  return std::size_t(std::count_if(whole.plans.begin(), whole.plans.end(), [](const TrialPlan& plan) { return plan.kind != TrialKind::final; }));
}

// The buckets in the order in which they were first trained in.
std::vector<int> bucket_order(const Search& search, const History& whole) {
  std::vector<int> order;
  for (const TrialPlan& plan : whole.plans) {
    if (!plan.candidate || plan.kind == TrialKind::final) continue;
    const int bucket = *search.bucket(*plan.candidate);
    if (std::find(order.begin(), order.end(), bucket) == order.end()) order.push_back(bucket);
  }
  return order;
}

Trial measured(int number, std::size_t candidate, double accuracy, TrialKind kind = TrialKind::transfer) {
  return ended(number, kind, candidate, accuracy);
}

const Budgets kUnbound{.latency_us = 1e9, .bytes = {}, .max_accuracy_loss = {}};

// A search of each sort, with a curve of its own.
struct Case {
  const char* name;
  std::vector<Candidate> candidates;
  SearchSettings settings;
  Budgets budgets;
  Curve accuracy;
};

std::vector<Case> cases() {
  const Curve noisy = [](std::size_t i) { return rising(i) + 0.05 * std::sin(double(i) * 7); };
  const Curve flat = [](std::size_t) { return 0.5; };
  return {
      {"plain", ladder(96), {}, kUnbound, rising},
      {"noisy", ladder(1500), {}, {.latency_us = 750, .bytes = {}, .max_accuracy_loss = {}}, noisy},
      {"flat", ladder(200), {}, kUnbound, flat},
      {"loss", ladder(500), {}, {.latency_us = {}, .bytes = {}, .max_accuracy_loss = 0.1}, noisy},
      {"explore all", ladder(500), {.explore_all = true}, {.latency_us = {}, .bytes = 70, .max_accuracy_loss = {}}, noisy},
      {"one in budget", ladder(500), {.explore_all = true}, {.latency_us = {}, .bytes = 1, .max_accuracy_loss = {}}, noisy},
      {"few", ladder(5), {.train_reference = true}, kUnbound, rising},
      {"one", ladder(1), {}, kUnbound, rising},
      {"one a bucket", ladder(64), {.buckets = 8, .sampled_buckets = 8, .trials_per_bucket = 1}, kUnbound, rising},
  };
}

TEST(SearchBuckets, AreEqualWithinOneAndOrderedByBytes) {
  for (int count : {1, 2, 7, 15, 16, 17, 100, 6048}) {
    auto candidates = ladder(count);
    std::shuffle(candidates.begin(), candidates.end(), std::mt19937(count));
    const Search search(candidates, {}, kUnbound);
    std::map<int, int> sizes;
    std::map<int, std::pair<double, double>> ends;
    for (int i = 0; i < count; ++i) {
      const int bucket = search.bucket(i).value();
      if (sizes[bucket]++ == 0) ends[bucket] = {candidates[i].bytes, candidates[i].bytes};
      auto& [least, most] = ends[bucket];
      least = std::min(least, candidates[i].bytes);
      most = std::max(most, candidates[i].bytes);
    }
    ASSERT_EQ(sizes.size(), std::size_t(std::min(count, 16)));
    EXPECT_EQ(sizes.begin()->first, 0);
    EXPECT_EQ(sizes.rbegin()->first, std::min(count, 16) - 1);
    for (auto& [bucket, size] : sizes) {
      EXPECT_GE(size, count / std::min(count, 16));
      EXPECT_LE(size, (count + std::min(count, 16) - 1) / std::min(count, 16));
      if (bucket > 0) {
        EXPECT_GT(ends[bucket].first, ends[bucket - 1].second);
      }
    }
  }
}

TEST(SearchBuckets, HoldOnlyWhatMayBeTrained) {
  auto candidates = ladder(10);
  candidates[2].accepted = false;
  const Budgets budgets{.latency_us = 8, .bytes = 6, .max_accuracy_loss = {}};
  const Search search(candidates, {}, budgets);
  EXPECT_EQ(search.trainable(), 5u);  // 1..6 bytes without the refused one
  EXPECT_FALSE(search.bucket(2).has_value());
  EXPECT_FALSE(search.bucket(6).has_value());
  EXPECT_FALSE(search.bucket(99).has_value());
  EXPECT_EQ(search.bucket(5), 4);

  const Search all(candidates, {.explore_all = true}, budgets);
  EXPECT_EQ(all.trainable(), 9u);
  EXPECT_FALSE(all.bucket(2).has_value());
}

TEST(SearchSettings, AreChecked) {
  EXPECT_THROW(Search({}, {}, {}), Error);
  EXPECT_THROW(Search(ladder(3), {.buckets = 1, .sampled_buckets = 1}, {}), Error);
  EXPECT_THROW(Search(ladder(3), {.sampled_buckets = 1}, {}), Error);
  EXPECT_THROW(Search(ladder(3), {.buckets = 4, .sampled_buckets = 5}, {}), Error);
  EXPECT_THROW(Search(ladder(3), {.trials_per_bucket = 0}, {}), Error);
}

TEST(SearchOrder, BothEndsThenWhereTheCurveBends) {
  // 16 buckets of 6. The accuracy jumps between the buckets 3 and 4, and nowhere else.
  const Search search(ladder(96), {}, kUnbound);
  const Curve jump = [](std::size_t i) { return i < 24 ? 0.2 : 0.8; };
  const History whole = simulate(search, jump);
  // Gap 0-15 -> 7, 0-7 -> 3, 3-7 -> 5, 3-5 -> 4.
  const std::vector<int> sampled = {15, 0, 7, 3, 5, 4};
  const auto order = bucket_order(search, whole);
  ASSERT_GE(order.size(), sampled.size());
  EXPECT_EQ(std::vector<int>(order.begin(), order.begin() + 6), sampled);
}

TEST(SearchOrder, ABucketIsAsGoodAsItsBest) {
  const Search search(ladder(96), {}, kUnbound);
  // The same jump, seen only by the least compressing format of each bucket.
  const Curve jump = [](std::size_t i) { return i % 6 != 5 ? 0.1 : i < 24 ? 0.2 : 0.8; };
  auto order = bucket_order(search, simulate(search, jump));
  order.resize(6);
  EXPECT_EQ(order, (std::vector<int>{15, 0, 7, 3, 5, 4}));
}

TEST(SearchOrder, LooksWhereAFlatCurveIsLeastCertain) {
  auto candidates = ladder(96);
  for (std::size_t i = 0; i < candidates.size(); ++i) candidates[i].bytes = 30 * std::exp(0.05 * double(i));
  const Search search(candidates, {.explore_all = true}, kUnbound);
  auto order = bucket_order(search, simulate(search, [](std::size_t) { return 0.5; }));
  ASSERT_GE(order.size(), 5u);
  EXPECT_EQ(std::vector<int>(order.begin(), order.begin() + 3), (std::vector<int>{15, 0, 7}));
  EXPECT_EQ(std::set<int>(order.begin() + 3, order.begin() + 5), (std::set<int>{3, 11})) << "the middles of the widest gaps";
}

TEST(SearchOrder, WithinABucketFromLeastToMostCompressing) {
  const Search search(ladder(96), {.trials_per_bucket = 3}, kUnbound);
  const History whole = simulate(search, rising);
  ASSERT_GE(whole.plans.size(), 6u);
  // Bucket 15 holds 90..95, bucket 0 holds 0..5.
  const std::vector<std::size_t> expected = {95, 93, 90, 5, 3, 0};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(whole.plans[i].candidate, expected[i]) << i;
}

// As many bytes and microseconds as its place tells, the first one the fewest.
std::vector<Candidate> formats(std::initializer_list<const char*> names) {
  std::vector<Candidate> candidates = ladder(int(names.size()));
  std::transform(names.begin(), names.end(), candidates.begin(), candidates.begin(), [](const char* name, Candidate candidate) {
    candidate.format = parse_format(name);
    return candidate;
  });
  return candidates;
}

TEST(SearchOrder, WeightsAreHandedDownWithinABlockSizeFromTheNearestFormat) {
  const auto candidates = formats({"1x1/b16/k2/q20@64", "1x1/b8/k1/q20@64", "2x2r/b8/k4/q20@64", "1x1/b8/k3/q20@64",
                                   "1x1/b16/k8/q20@64", "1x1/b8/k8/q20@64"});
  const Search search(candidates, {.buckets = 2, .sampled_buckets = 2, .trials_per_bucket = 3, .explore_all = true}, kUnbound);
  const History whole = simulate(search, rising);
  ASSERT_EQ(explorations(whole), 6u);
  EXPECT_EQ(whole.plans.size(), 8u) << "two finalists";
  const std::vector<std::size_t> order = {5, 4, 3, 2, 1, 0};
  const std::vector<std::optional<int>> parents = {std::nullopt, std::nullopt, 1, 3, 3, 2};
  for (std::size_t i = 0; i < parents.size(); ++i) {
    EXPECT_EQ(whole.plans[i].candidate, order[i]) << i;
    EXPECT_EQ(whole.plans[i].parent, parents[i]) << i;
    EXPECT_EQ(whole.plans[i].kind, parents[i] ? TrialKind::transfer : TrialKind::scratch) << i;
  }
  EXPECT_EQ(whole.plans.back().kind, TrialKind::final);
  EXPECT_FALSE(whole.plans.back().parent.has_value());
}

TEST(SearchOrder, WhatHasAStemHandsDownAmongItself) {
  auto candidates = formats({"1x1/b8/k1/q20@64", "1x1/b8/k2/q20@64", "1x1/b8/k4/q20@64", "1x1/b8/k2/q20@64", "1x1/b8/k4/q20@64"});
  candidates[3].stem = candidates[4].stem = true;
  const Search search(candidates, {.buckets = 2, .sampled_buckets = 2, .trials_per_bucket = 3, .explore_all = true}, kUnbound);
  const History whole = simulate(search, rising);
  ASSERT_EQ(explorations(whole), 5u);
  std::map<bool, int> from_scratch;
  for (std::size_t i = 0; i < 5; ++i) {
    const TrialPlan& plan = whole.plans[i];
    const bool stem = candidates[*plan.candidate].stem;
    from_scratch[stem] += plan.kind == TrialKind::scratch;
    if (plan.parent) {
      EXPECT_EQ(candidates[*whole.trials[std::size_t(*plan.parent) - 1].candidate].stem, stem) << i;
    }
  }
  EXPECT_EQ(from_scratch[false], 1);
  EXPECT_EQ(from_scratch[true], 1);
}

TEST(SearchOrder, OfEquallyNearOnesTheLatestHandsDown) {
  const auto candidates = formats({"1x1/b8/k2/q20@64", "1x1/b8/k1/q20@64", "1x1/b8/k4/q20@64"});
  const Search search(candidates, {.buckets = 3, .sampled_buckets = 3, .trials_per_bucket = 1}, kUnbound);
  const auto plan = search.next({measured(1, 2, 0.5, TrialKind::scratch), measured(2, 1, 0.3)});
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->candidate, 0u);
  EXPECT_EQ(plan->parent, 2);
}

// So many transfers of a ladder that gained a tenth, more or less, from halfway to their ends.
std::vector<Trial> gaining(int count) {
  std::vector<Trial> trials;
  for (int i = 0; i < count; ++i) {
    Trial trial = measured(i + 1, std::size_t(159 - i), 0.5);
    trial.halfway = trial.accuracy - (i % 2 ? 0.08 : 0.12);
    trials.push_back(trial);
  }
  return trials;
}

TEST(SearchStopping, OnlyWhatIsTrainedForTheChoiceMayStop) {
  const Search search(ladder(160), {.trials_per_bucket = 2}, kUnbound);
  std::vector<Trial> trials;
  int may_stop = 0;
  while (auto plan = search.next(trials)) {
    const bool sampling = trials.size() < 12;
    EXPECT_EQ(plan->least_halfway.has_value(), !sampling && plan->kind == TrialKind::transfer) << trials.size();
    if (plan->least_halfway) {
      ++may_stop;
      const double best = hill(*search.choose(trials));
      EXPECT_NEAR(*plan->least_halfway, best - 0.1, 1e-9) << "all gained a tenth";
    }
    trials.push_back(run(*plan, trials.size() + 1, hill));
    if (plan->kind == TrialKind::transfer) trials.back().halfway = trials.back().accuracy - 0.1;
  }
  EXPECT_GT(may_stop, 0);
}

TEST(SearchStopping, NeedsToKnowWhatOthersGained) {
  // All buckets have been sampled, so that what comes next is for the choice.
  const Search search(ladder(160), {.buckets = 2, .sampled_buckets = 2, .trials_per_bucket = 4}, kUnbound);
  std::vector<Trial> trials;
  while (trials.size() < 8) trials.push_back(run(*search.next(trials), trials.size() + 1, rising));
  ASSERT_TRUE(search.next(trials)->candidate.has_value());
  EXPECT_FALSE(search.next(trials)->least_halfway.has_value());
  for (std::size_t i = 1; i < 8; ++i) trials[i].halfway = trials[i].accuracy - (i % 2 ? 0.08 : 0.12);
  const auto plan = search.next(trials);
  ASSERT_TRUE(plan->least_halfway.has_value());
  const double best = rising(*search.choose(trials));
  EXPECT_LT(*plan->least_halfway, best - 0.12) << "more than any gained";
  EXPECT_GT(*plan->least_halfway, best - 0.16);
}

TEST(SearchStopping, ThreeInARowAreTheLast) {
  const Search search(ladder(160), {.trials_per_bucket = 4}, kUnbound);
  std::vector<Trial> trials;
  int stops = 0;
  while (auto plan = search.next(trials)) {
    trials.push_back(run(*plan, trials.size() + 1, hill));
    if (plan->kind != TrialKind::transfer) continue;
    trials.back().halfway = trials.back().accuracy - 0.1;
    trials.back().stopped = plan->least_halfway.has_value();
    stops += trials.back().stopped;
  }
  EXPECT_EQ(trials.back().kind, TrialKind::final);
  EXPECT_EQ(stops, 3);
}

TEST(SearchStopping, AStoppedTrialIsNeitherChosenNorTriedAgainNorMeasured) {
  const Search search(ladder(160), {}, kUnbound);
  std::vector<Trial> trials = gaining(6);
  trials.push_back({.number = 7, .kind = TrialKind::transfer, .candidate = 40, .accuracy = 0.9, .halfway = 0.9, .stopped = true});
  EXPECT_NE(search.choose(trials), 40u);
  EXPECT_FALSE(search.predict(trials)[40]->measured);
  EXPECT_EQ(search.predict(trials)[40]->accuracy, search.predict(gaining(6))[40]->accuracy) << "nor does it tell of others";
  while (auto plan = search.next(trials)) {
    EXPECT_NE(plan->candidate, 40u);
    if (plan->parent) {
      EXPECT_NE(plan->parent, 7);
    }
    trials.push_back(run(*plan, trials.size() + 1, rising));
  }
}

// Accuracy rises evenly with the doublings of bytes to 0.82, and the best one is a finalist.
std::vector<Trial> with_finalist(double accuracy) {
  std::vector<Trial> trials = {measured(1, 95, 0.82, TrialKind::scratch)};
  for (int doublings = 1; doublings <= 5; ++doublings) {
    trials.push_back(measured(doublings + 1, (96u >> doublings) - 1, 0.82 - 0.12 * doublings, TrialKind::scratch));
  }
  trials.push_back(measured(7, 95, accuracy, TrialKind::final));
  return trials;
}

TEST(SearchFinalists, NothingIsExploredAfterThem) {
  const Search search(ladder(96), {}, kUnbound);
  EXPECT_FALSE(search.next({measured(1, 95, 0.8, TrialKind::scratch), measured(2, 95, 0.9, TrialKind::final)}).has_value());
}

TEST(SearchFinalists, TheSecondBestIsOneWhereItMayBeBetter) {
  const Search search(ladder(96), {}, kUnbound);
  auto trials = with_finalist(0.83);
  EXPECT_FALSE(search.next(trials).has_value()) << "the second best is at 0.7";
  trials.push_back(measured(8, 90, 0.81, TrialKind::scratch));
  const auto plan = search.next(trials);
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->kind, TrialKind::final);
  EXPECT_EQ(plan->candidate, 90u);
  EXPECT_FALSE(plan->parent.has_value());
}

TEST(SearchFinalists, AreTwoAtMostAndTheBetterOneIsChosen) {
  const Search search(ladder(96), {}, kUnbound);
  auto trials = with_finalist(0.8);
  trials.push_back(measured(8, 90, 0.81, TrialKind::scratch));
  EXPECT_EQ(search.choose(trials), 95u);
  trials.push_back(measured(9, 90, 0.83, TrialKind::final));
  EXPECT_FALSE(search.next(trials).has_value());
  EXPECT_EQ(search.choose(trials), 90u);
  trials.back().accuracy = 0.79;
  EXPECT_EQ(search.choose(trials), 95u);
}

TEST(SearchFinalists, WithAnAllowedLossTheSecondIsTrainedWhereTheFirstDoesNotKeepIt) {
  const Search search(ladder(96), {}, {.latency_us = {}, .bytes = {}, .max_accuracy_loss = 0.1});
  std::vector<Trial> trials = {ended(1, TrialKind::reference, {}, 0.9), measured(2, 90, 0.82, TrialKind::scratch), measured(3, 95, 0.83),
                               measured(4, 90, 0.81, TrialKind::final)};
  EXPECT_FALSE(search.next(trials).has_value()) << "the first does";
  trials.back().accuracy = 0.79;
  const auto plan = search.next(trials);
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->candidate, 95u);
  trials.push_back(measured(5, 95, 0.8, TrialKind::final));
  EXPECT_EQ(search.choose(trials), 95u);
  EXPECT_TRUE(search.keeps_budgets(trials));
  trials.back().accuracy = 0.7;
  EXPECT_FALSE(search.next(trials).has_value());
  EXPECT_EQ(search.choose(trials), 90u) << "neither keeps it: the more accurate one";
  EXPECT_FALSE(search.keeps_budgets(trials));
}

TEST(SearchOrder, TheReferenceComesFirstWhereItIsWanted) {
  const Search search(ladder(96), {.train_reference = true}, kUnbound);
  const auto plan = search.next({});
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->kind, TrialKind::reference);
  EXPECT_FALSE(plan->candidate.has_value());
  const Search by_loss(ladder(96), {}, {.latency_us = {}, .bytes = {}, .max_accuracy_loss = 0.05});
  EXPECT_EQ(by_loss.next({})->kind, TrialKind::reference);
  EXPECT_EQ(Search(ladder(96), {}, kUnbound).next({})->kind, TrialKind::scratch);
}

TEST(SearchRun, NoFormatIsExploredTwiceAndTheFinalistsComeLast) {
  for (const Case& c : cases()) {
    const Search search(c.candidates, c.settings, c.budgets);
    const History whole = simulate(search, c.accuracy);
    std::map<std::size_t, int> times;
    for (std::size_t i = 0; i < whole.plans.size(); ++i) {
      const TrialPlan& plan = whole.plans[i];
      EXPECT_EQ(plan.kind == TrialKind::final, i >= explorations(whole)) << c.name;
      if (plan.kind == TrialKind::scratch || plan.kind == TrialKind::transfer) {
        EXPECT_EQ(++times[*plan.candidate], 1) << c.name;
      }
      if (plan.parent) {
        EXPECT_LT(*plan.parent, int(i + 1)) << c.name;
      }
    }
    const std::size_t finalists = whole.plans.size() - explorations(whole);
    EXPECT_GE(finalists, 1u) << c.name;
    EXPECT_LE(finalists, 2u) << c.name;
    EXPECT_EQ(whole.plans[explorations(whole)].candidate, search.choose(whole.trials)) << "all gain as much by a full training, " << c.name;
    std::vector<Trial> so_far;
    for (std::size_t i = 0; i < whole.plans.size(); ++i) {
      int full = 0;
      for (std::size_t j = i; j < whole.plans.size(); ++j) full += whole.plans[j].kind != TrialKind::transfer;
      const Remaining remaining = search.remaining(so_far);
      EXPECT_LE(full, remaining.full) << c.name << " after " << i;
      EXPECT_LE(int(whole.plans.size() - i), remaining.full + remaining.transfers) << c.name << " after " << i;
      so_far.push_back(whole.trials[i]);
    }
  }
}

TEST(SearchRun, ResumesTheSameWayFromEveryPrefix) {
  for (const Case& c : cases()) {
    const History whole = simulate(Search(c.candidates, c.settings, c.budgets), c.accuracy);
    for (std::size_t done = 0; done <= whole.trials.size(); ++done) {
      const Search again(c.candidates, c.settings, c.budgets);
      std::vector<Trial> prefix(whole.trials.begin(), whole.trials.begin() + long(done));
      std::shuffle(prefix.begin(), prefix.end(), std::mt19937(unsigned(done)));  // rows come in any order
      const auto plan = again.next(prefix);
      ASSERT_EQ(plan.has_value(), done < whole.plans.size()) << c.name << " after " << done;
      if (plan) {
        EXPECT_TRUE(same(*plan, whole.plans[done])) << c.name << " after " << done;
      }
    }
  }
}

// As simulate(), with several devices to train on. Checks that no trial of a round waits for another of it.
History simulate_together(const Search& search, const Curve& accuracy, std::size_t devices) {
  History whole;
  for (auto plans = search.next_together({}, devices); !plans.empty(); plans = search.next_together(whole.trials, devices)) {
    EXPECT_LE(plans.size(), devices);
    ++whole.rounds;
    const int ended = int(whole.trials.size());
    for (const TrialPlan& plan : plans) {
      EXPECT_LE(plan.parent.value_or(0), ended) << "the weights of a trial that still runs";
      EXPECT_EQ(plan.kind == TrialKind::final, plans.front().kind == TrialKind::final);
      whole.plans.push_back(plan);
      whole.trials.push_back(run(plan, whole.trials.size() + 1, accuracy));
    }
    if (whole.trials.size() > 1000) throw std::runtime_error("the search does not end");
  }
  return whole;
}

TEST(SearchTogether, OneIsTheNextOne) {
  for (const Case& c : cases()) {
    const Search search(c.candidates, c.settings, c.budgets);
    const History whole = simulate_together(search, c.accuracy, 1), one_by_one = simulate(search, c.accuracy);
    ASSERT_EQ(whole.plans.size(), one_by_one.plans.size()) << c.name;
    for (std::size_t i = 0; i < whole.plans.size(); ++i) EXPECT_TRUE(same(whole.plans[i], one_by_one.plans[i])) << c.name;
  }
}

TEST(SearchTogether, ChoosesNearlyAsWellInFewerRounds) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const Search search(c.candidates, c.settings, c.budgets);
    const History whole = simulate_together(search, c.accuracy, 4), one_by_one = simulate(search, c.accuracy);
    std::set<std::size_t> explored;
    for (std::size_t i = 0; i < whole.plans.size(); ++i) {
      const TrialPlan& plan = whole.plans[i];
      EXPECT_EQ(plan.kind == TrialKind::final, i >= explorations(whole)) << "finalists come last";
      if (plan.candidate && plan.kind != TrialKind::final) {
        EXPECT_TRUE(explored.insert(*plan.candidate).second) << "no format is explored twice";
      }
    }
    EXPECT_LE(whole.rounds, one_by_one.trials.size() / 2 + 3);
    EXPECT_LE(whole.trials.size(), one_by_one.trials.size() + 4);
    const auto chosen = search.choose(whole.trials), chosen_one_by_one = search.choose(one_by_one.trials);
    ASSERT_TRUE(chosen && chosen_one_by_one);
    if (!c.budgets.max_accuracy_loss) {
      EXPECT_GE(c.accuracy(*chosen), c.accuracy(*chosen_one_by_one) - 0.03);
    } else {
      EXPECT_LE(c.candidates[*chosen].latency_us, 1.2 * c.candidates[*chosen_one_by_one].latency_us);
    }
  }
}

TEST(SearchTogether, GoesOnFromEveryPrefix) {
  for (const Case& c : cases()) {
    if (c.candidates.size() > 200) continue;  // these take long
    SCOPED_TRACE(c.name);
    const Search search(c.candidates, c.settings, c.budgets);
    const History whole = simulate_together(search, c.accuracy, 4);
    for (std::size_t done = 0; done <= whole.trials.size(); ++done) {
      const std::vector<Trial> prefix(whole.trials.begin(), whole.trials.begin() + long(done));
      const auto plans = search.next_together(prefix, 4);
      EXPECT_EQ(plans.empty(), !search.next(prefix).has_value()) << done;
      for (const TrialPlan& plan : plans) EXPECT_LE(plan.parent.value_or(0), int(done)) << "not trained yet";
    }
  }
}

TEST(SearchTogether, StopsOnlyByWhatHasEnded) {
  const Search search(ladder(160), {.trials_per_bucket = 2}, kUnbound);
  std::vector<Trial> trials;
  bool may_stop = false;
  for (auto plans = search.next_together({}, 4); !plans.empty(); plans = search.next_together(trials, 4)) {
    double best = 0, gain = 0.1;
    for (const Trial& trial : trials) best = std::max(best, trial.kind == TrialKind::final ? 0 : trial.accuracy);
    for (const TrialPlan& plan : plans) {
      if (plan.least_halfway) {
        may_stop = true;
        EXPECT_LE(*plan.least_halfway, best - gain + 1e-9);
      }
      trials.push_back(run(plan, trials.size() + 1, hill));
      if (plan.kind == TrialKind::transfer) trials.back().halfway = trials.back().accuracy - gain;
    }
  }
  EXPECT_TRUE(may_stop);
}

TEST(SearchTogether, WaitsForWeightsAndThenUsesAllDevices) {
  const Search search(ladder(96), {}, kUnbound);
  EXPECT_EQ(search.next_together({}, 4).size(), 1u) << "the others need its weights";
  const auto second = search.next_together({measured(1, 95, 0.8, TrialKind::scratch)}, 4);
  ASSERT_EQ(second.size(), 4u);
  for (const TrialPlan& plan : second) EXPECT_EQ(plan.parent, 1);
  const Search with_reference(ladder(96), {.train_reference = true}, kUnbound);
  const auto first = with_reference.next_together({}, 4);
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0].kind, TrialKind::reference);
  EXPECT_EQ(first[1].kind, TrialKind::scratch);
}

TEST(SearchRun, IgnoresTrialsOfUnknownCandidates) {
  const Search search(ladder(20), {}, kUnbound);
  const std::vector<Trial> strange = {measured(1, 777, 0.9),
                                      ended(2, TrialKind::scratch, {}, 1)};
  EXPECT_TRUE(same(*search.next(strange), *search.next({})));
  EXPECT_FALSE(search.choose(strange).has_value());
}

TEST(SearchRun, KnowsHowMuchIsToComeAtMost) {
  const auto count = [](const Search& search, const std::vector<Trial>& trials) {
    const Remaining remaining = search.remaining(trials);
    return std::pair(remaining.full, remaining.transfers);
  };
  const Search all(ladder(6048), {}, kUnbound);
  EXPECT_EQ(count(all, {}), std::pair(1 + 2, 6 * 6 + 2 * 6 - 1)) << "one block size, two finalists";
  EXPECT_EQ(count(Search(ladder(6048), {.train_reference = true}, kUnbound), {}), std::pair(1 + 1 + 2, 6 * 6 + 2 * 6 - 1));
  EXPECT_EQ(count(Search(ladder(1), {}, kUnbound), {}), std::pair(2, 0));
  std::vector<Trial> trials = {measured(1, 6047, 0.8, TrialKind::scratch), measured(2, 6000, 0.7)};
  EXPECT_EQ(count(all, trials), std::pair(2, 6 * 6 + 2 * 6 - 2));
  trials.push_back(measured(3, 6047, 0.8, TrialKind::final));
  EXPECT_EQ(count(all, trials), std::pair(1, 0));
}

TEST(SearchBudgets, NothingFeasibleEndsAtOnce) {
  const Budgets too_tight{.latency_us = 0.5, .bytes = {}, .max_accuracy_loss = 0.1};
  for (bool explore_all : {false, true}) {
    const Search search(ladder(50), {.explore_all = explore_all, .train_reference = true}, too_tight);
    EXPECT_FALSE(search.next({}).has_value());
    EXPECT_FALSE(search.choose({measured(1, 3, 0.9)}).has_value());
    EXPECT_EQ(search.remaining({}).full + search.remaining({}).transfers, 0);
  }
  auto refused = ladder(4);
  for (Candidate& candidate : refused) candidate.accepted = false;
  const Search none(refused, {.explore_all = true}, {});
  EXPECT_EQ(none.trainable(), 0u);
  EXPECT_FALSE(none.next({}).has_value());
  EXPECT_FALSE(none.choose({measured(1, 3, 0.9)}).has_value());
  for (const auto& prediction : none.predict({measured(1, 3, 0.9)})) EXPECT_FALSE(prediction.has_value());
}

TEST(SearchBudgets, AreKeptByTrainingAndChoice) {
  const Budgets budgets{.latency_us = 120, .bytes = 80, .max_accuracy_loss = {}};
  const Search search(ladder(300), {}, budgets);
  const History whole = simulate(search, rising);
  for (const TrialPlan& plan : whole.plans) EXPECT_LT(*plan.candidate, 80u);
  EXPECT_EQ(search.choose(whole.trials), 79u);
}

TEST(SearchBudgets, ExploringAllTrainsButNeverChoosesTheExcluded) {
  const Budgets budgets{.latency_us = {}, .bytes = 80, .max_accuracy_loss = {}};
  const Search search(ladder(300), {.explore_all = true}, budgets);
  const History whole = simulate(search, rising);
  EXPECT_EQ(whole.plans.front().candidate, 299u);
  const auto choice = search.choose(whole.trials);
  ASSERT_TRUE(choice.has_value());
  EXPECT_GT(*choice, 75u) << "what is within the budget is looked at, too, and nearly the best is found";
  EXPECT_LT(*choice, 80u);
}

TEST(SearchBudgets, TheOnlyFormatWithinIsFoundAmongAll) {
  const Budgets budgets{.latency_us = {}, .bytes = 1, .max_accuracy_loss = {}};
  auto candidates = ladder(6048);
  std::swap(candidates[0], candidates[3000]);
  candidates[3000].latency_us = 0.001;
  const Search search(candidates, {.trials_per_bucket = 2, .explore_all = true}, budgets);
  const History whole = simulate(search, [](std::size_t i) { return double(i % 13) / 13; });
  EXPECT_EQ(whole.plans.back().candidate, 3000u);

  // The same for one in the middle of a sampled bucket, which even spreading passes over.
  candidates = ladder(160);
  for (std::size_t i = 0; i < candidates.size(); ++i) candidates[i].latency_us = i == 3 ? 1 : 100;
  const Budgets fast{.latency_us = 50, .bytes = {}, .max_accuracy_loss = {}};
  const Search middle(candidates, {.trials_per_bucket = 2, .explore_all = true}, fast);
  const History refined = simulate(middle, rising);
  ASSERT_GE(refined.plans.size(), 2u);
  EXPECT_EQ(refined.plans.back().kind, TrialKind::final);
  EXPECT_EQ(refined.plans.back().candidate, 3u);
}

TEST(SearchRefinement, TrainsWhereTheAllowedLossFallsBetweenSamples) {
  // The reference reaches 0.95, so the threshold is 0.6, which bucket 12 just keeps; it is not sampled.
  const Search search(ladder(160), {.trials_per_bucket = 2}, {.latency_us = {}, .bytes = {}, .max_accuracy_loss = 0.35});
  const Curve square = [](std::size_t i) { return 0.95 * double((i / 10) * (i / 10)) / 225; };
  const History whole = simulate(search, square);
  const auto choice = search.choose(whole.trials);
  ASSERT_TRUE(choice.has_value());
  EXPECT_GE(*choice, 120u);
  EXPECT_LE(*choice, 130u) << "the sampled buckets have 110 and 159";
}

TEST(SearchRefinement, FindsThePeakBetweenTheSamples) {
  // The best format is in the middle of a gap; those around it tell that it is good.
  const Search search(ladder(160), {.trials_per_bucket = 2}, kUnbound);
  const History whole = simulate(search, hill);
  EXPECT_GT(hill(search.choose(whole.trials).value()), 0.895);
}

TEST(SearchRefinement, HasAnEnd) {
  const Search search(ladder(600), {.trials_per_bucket = 2}, kUnbound);
  const Curve wild = [](std::size_t i) { return 0.5 + 0.4 * std::sin(double(i * i)); };
  EXPECT_LE(int(simulate(search, wild).plans.size()), search.remaining({}).full + search.remaining({}).transfers);
}

TEST(SearchRefinement, SamplingEndsEarlyWhereNothingElsePromisesMore) {
  // Accuracy rises with every step, and the least compressing format is trained first: what lies below cannot be better.
  auto candidates = ladder(16);
  for (std::size_t i = 0; i < candidates.size(); ++i) candidates[i].bytes = 30 * std::pow(1.6, double(i));
  const Curve steps = [](std::size_t i) { return 0.06 * double(i); };
  SearchSettings settings{.buckets = 16, .sampled_buckets = 16, .trials_per_bucket = 1};
  const History whole = simulate(Search(candidates, settings, kUnbound), steps);
  settings.explore_all = true;
  EXPECT_EQ(explorations(simulate(Search(candidates, settings, kUnbound), steps)), 16u);
  EXPECT_LT(explorations(whole), 16u);
  EXPECT_EQ(Search(candidates, settings, kUnbound).choose(whole.trials), 15u);
}

TEST(SearchPredict, MeasuredOnesAsMeasuredAndTheOthersBetweenThem) {
  const Search search(ladder(160), {}, kUnbound);
  const std::vector<Trial> trials = {measured(1, 9, 0.2), measured(2, 19, 0.3), measured(3, 39, 0.4), measured(4, 79, 0.5),
                                     measured(5, 159, 0.6)};
  const auto predictions = search.predict(trials);
  EXPECT_TRUE(predictions[79]->measured);
  EXPECT_EQ(predictions[79]->accuracy, 0.5);
  EXPECT_EQ(predictions[79]->low, 0.5);
  EXPECT_EQ(predictions[79]->high, 0.5);
  double last = 0;
  for (std::size_t i : {14u, 29u, 59u, 119u}) {
    const Prediction prediction = predictions[i].value();
    EXPECT_FALSE(prediction.measured);
    EXPECT_GT(prediction.accuracy, last);
    EXPECT_LT(prediction.low, prediction.accuracy);
    EXPECT_GT(prediction.high, prediction.accuracy);
    last = prediction.accuracy;
  }
  EXPECT_LT(last, 0.65);
}

TEST(SearchPredict, AFinalTrainingIsWhatItsFormatReaches) {
  const Search search(ladder(160), {}, kUnbound);
  const std::vector<Trial> trials = {measured(1, 155, 0.7, TrialKind::scratch), measured(2, 5, 0.2),
                                     measured(3, 155, 0.99, TrialKind::final)};
  EXPECT_EQ(search.predict(trials)[155]->accuracy, 0.99);
  EXPECT_TRUE(search.predict(trials)[155]->measured);
}

TEST(SearchPredict, NothingBeforeTheFirstTrial) {
  const Search search(ladder(40), {.train_reference = true}, kUnbound);
  for (const auto& prediction : search.predict({})) EXPECT_FALSE(prediction.has_value());
  const Trial reference = ended(1, TrialKind::reference, {}, 0.9);
  for (const auto& prediction : search.predict({reference})) EXPECT_FALSE(prediction.has_value());
  const auto one = search.predict({reference, measured(2, 39, 0.8)});
  for (const auto& prediction : one) EXPECT_NEAR(prediction.value().accuracy, 0.8, 1e-9);
}

TEST(SearchChoose, TakesTheLatestTrialOfAFormat) {
  const Search search(ladder(40), {}, kUnbound);
  EXPECT_EQ(search.choose({measured(3, 7, 0.5), measured(1, 7, 0.9), measured(2, 8, 0.6)}), 8u);
}

TEST(SearchChoose, TiesGoToLowerLatencyThenFewerBytes) {
  auto candidates = ladder(4);
  candidates[1].latency_us = candidates[2].latency_us = 2;
  candidates[0].latency_us = 3;
  candidates[1].bytes = 20;
  candidates[2].bytes = 10;
  const Search search(candidates, {}, kUnbound);
  EXPECT_EQ(search.choose({measured(1, 0, 0.8), measured(2, 1, 0.8), measured(3, 2, 0.8), measured(4, 3, 0.7)}), 2u);
  EXPECT_EQ(search.choose({measured(1, 0, 0.8), measured(2, 1, 0.8)}), 1u);
  EXPECT_EQ(search.choose({measured(1, 0, 0.81), measured(2, 1, 0.8)}), 0u);
}

TEST(SearchChoose, WithAnAllowedLossTheFastestThatKeepsIt) {
  auto candidates = ladder(5);
  candidates[3].latency_us = candidates[2].latency_us;
  const Budgets budgets{.latency_us = {}, .bytes = {}, .max_accuracy_loss = 0.05};
  const Search search(candidates, {}, budgets);
  std::vector<Trial> trials = {measured(2, 0, 0.5), measured(3, 1, 0.84), measured(4, 2, 0.86), measured(5, 3, 0.87),
                               measured(6, 4, 0.95)};
  EXPECT_FALSE(search.choose(trials).has_value()) << "without the reference there is no threshold";
  trials.push_back(ended(1, TrialKind::reference, {}, 0.9));
  EXPECT_EQ(search.choose(trials), 3u) << "equally fast, more accurate";
  trials.back().accuracy = 0.89;
  EXPECT_EQ(search.choose(trials), 1u) << "exactly the allowed loss is allowed";
  trials.back().accuracy = 1.0;
  EXPECT_EQ(search.choose(trials), 4u);
  trials.back().accuracy = 1.01;
  EXPECT_FALSE(search.choose(trials).has_value());
}

TEST(SearchChoose, TheRoundingOfAccuraciesIsNoLoss) {
  const Search search(ladder(5), {}, {.latency_us = {}, .bytes = {}, .max_accuracy_loss = 0.05});
  const Trial reference = ended(1, TrialKind::reference, {}, 0.95f);
  EXPECT_EQ(search.choose({reference, measured(2, 3, 0.9f)}), 3u);
  EXPECT_FALSE(search.choose({reference, measured(2, 3, 0.8999)}).has_value());
}

bool beats(const Objective& a, const Objective& b) {
  const bool as_good = a.accuracy >= b.accuracy && a.latency_us <= b.latency_us && a.bytes <= b.bytes;
  return as_good && (a.accuracy > b.accuracy || a.latency_us < b.latency_us || a.bytes < b.bytes);
}

TEST(Pareto, AgreesWithComparingAllPairs) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const unsigned values = 1 + unsigned(random() % 12);  // few values: many equals
    std::vector<Objective> objectives(random() % 60);
    for (Objective& o : objectives) o = {double(random() % values), double(random() % values), double(random() % values)};
    const auto unbeaten = pareto(objectives);
    ASSERT_EQ(unbeaten.size(), objectives.size());
    for (std::size_t i = 0; i < objectives.size(); ++i) {
      auto beats_it = [&](const Objective& other) { return beats(other, objectives[i]); };
      EXPECT_EQ(unbeaten[i], std::none_of(objectives.begin(), objectives.end(), beats_it));
    }
  }
}

TEST(Pareto, EqualsDoNotBeatEachOther) {
  const auto unbeaten = pareto({{0.5, 1, 1}, {0.5, 1, 1}, {0.4, 1, 1}});
  EXPECT_EQ(unbeaten, (std::vector<bool>{true, true, false}));
  EXPECT_TRUE(pareto({}).empty());
}

}  // namespace
}  // namespace imagecalc
