// The choice between a model's plans.
#pragma once

#include <atomic>
#include <chrono>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "runner/engine/plan.h"

namespace imagecalc {

class Trial;

// For one tensor size, batches of about one size and one wish: begins with the plain plan, tries the others,
// and keeps the fastest that is right.
class Choice {
 public:
  // The recipes outlive it. Those that were not asked for are left out. The plain plan is made by the first run.
  Choice(TensorSize size, std::size_t batch, Wish asked, const Recipe& plain, const std::vector<Recipe>& recipes);
  ~Choice();

  // Runs the best plan known, and from the second call on looks for a better one first, unless another thread is at that.
  Scores run(const TensorBatch& batch, int threads);

  bool matches(TensorSize size, std::size_t batch, Wish asked) const {
    return size == size_ && batch == batch_ && asked == asked_;
  }
  // Whether it has more than the plain plan, which costs memory.
  bool has_begun() const { return begun_; }
  ChoiceReport report() const;
  // Those that it keeps: the plain one, once that is made, and the best one.
  std::vector<std::shared_ptr<Plan>> plans() const;

 private:
  Plan& plain();
  void try_plans(int threads);
  bool begin_trial(int threads);
  void try_plan(const Recipe& recipe);
  void drop_outsiders();
  void run_off();
  void end_trial();
  bool is_better(const PlanReport& report) const;
  void settle_for_plain(const std::string& why);
  std::shared_ptr<Plan> best(EngineChoice& engine) const;
  float best_us() const;

  const TensorSize size_;
  const std::size_t batch_;
  const Wish asked_;
  const Recipe& plain_recipe_;
  std::once_flag plain_made_;

  // A plan that is right and about as fast as the best one.
  struct Contender {
    std::shared_ptr<Plan> plan;
    std::size_t report;  // its place in plans_
  };

  std::mutex trying_;  // held by the thread that tries plans; of the next three
  std::unique_ptr<Trial> trial_;
  std::vector<Contender> contenders_;
  std::vector<const Recipe*> untried_;  // the next one last

  std::atomic<bool> called_ = false, begun_ = false, settled_ = false;

  mutable std::mutex mutex_;  // of what follows
  std::shared_ptr<Plan> plain_;  // none until it is needed
  std::shared_ptr<Plan> best_;   // none: the plain one
  PlanReport chosen_;
  std::vector<PlanReport> plans_;
};

// A model's choices. The sizes of most models are few. One that reads pictures as they come would have a choice for every
// picture: sizes that come once, and those that come after the first few dozen, run on the plain plan.
class Choices {
 public:
  Choices(Recipe plain, std::vector<Recipe> recipes) : plain_(std::move(plain)), recipes_(std::move(recipes)) {}

  Scores run(const TensorBatch& batch, TensorSize size, int threads, Wish asked);
  ModelDescription describe() const;
  // Of the plans that are in use.
  std::size_t memory() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Entry {
    std::shared_ptr<Choice> choice;
    Clock::time_point last_use;
  };

  std::shared_ptr<Choice> find(std::size_t images, TensorSize size, Wish asked);
  bool make_room();

  const Recipe plain_;
  const std::vector<Recipe> recipes_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // most recently used first
};

}  // namespace imagecalc
