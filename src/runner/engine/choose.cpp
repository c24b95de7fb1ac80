#include "runner/engine/choose.h"

#include <algorithm>
#include <limits>
#include <new>
#include <set>

#include "runner/engine/trial.h"

namespace imagecalc {

namespace {

// No call tries another plan after so long. Making and trying one takes some tenths of a second.
constexpr std::chrono::milliseconds kBudget{300};
constexpr std::size_t kMaxChoices = 24;
// How much longer than the fastest plan one may have taken that is timed once more.
constexpr float kClose = 1.5f;
constexpr std::chrono::seconds kIdle{60};
constexpr float kForever = std::numeric_limits<float>::max();

// Plans are tried at one of these, the nearest by ratio.
std::size_t working_batch(std::size_t images) { return images < 2 ? 1 : images < 16 ? 8 : images < 64 ? 32 : 128; }

}  // namespace

Choice::Choice(TensorSize size, std::size_t batch, Wish asked, const Recipe& plain, const std::vector<Recipe>& recipes)
    : size_(size), batch_(batch), asked_(asked), plain_recipe_(plain) {
  for (const Recipe& recipe : recipes) {
    const bool fits = asked.engine == EngineChoice::automatic || asked.engine == recipe.engine;
    if (fits && (asked.bf16 || !recipe.bf16)) untried_.insert(untried_.begin(), &recipe);
  }
  chosen_ = {plain.engine, plain.name, 0, {}};
  settled_ = untried_.empty();
}

Choice::~Choice() = default;

Plan& Choice::plain() {
  std::call_once(plain_made_, [&] {
    auto made = plain_recipe_.make(size_, batch_);
    std::lock_guard lock(mutex_);
    plain_ = std::move(made);
  });
  return *plain_;
}

Scores Choice::run(const TensorBatch& batch, int threads) {
  bool first = !called_.exchange(true);
  // A size that comes once is not worth it; but who asks for an engine gets it at once.
  if (!settled_ && (!first || asked_.engine != EngineChoice::automatic)) {
    if (std::unique_lock lock(trying_, std::try_to_lock); lock) try_plans(threads);
  }
  EngineChoice engine;
  std::shared_ptr<Plan> plan = best(engine);
  if (!plan) return plain().run(batch, threads);
  std::string failure;
  try {
    Scores scores = plan->run(batch, threads);
    scores.engine = engine;
    return scores;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const Error& error) {  // what a device lacks, or is, says nothing of the plan
    if (error.fault() == Fault::out_of_memory || error.fault() == Fault::no_device) throw;
    failure = error.what();
  } catch (const std::exception& error) {
    failure = error.what();
  }
  Scores scores = plain().run(batch, threads);  // where this throws it was the images, not the plan
  settle_for_plain("it failed: " + failure);
  if (std::unique_lock lock(trying_, std::try_to_lock); lock) end_trial();
  return scores;
}

// The lock on trying_ is held.
void Choice::try_plans(int threads) {
  if (settled_) return;
  auto deadline = std::chrono::steady_clock::now() + kBudget;
  if (!trial_ && !begin_trial(threads)) return;
  while (!untried_.empty() && !settled_) {
    const Recipe& recipe = *untried_.back();
    untried_.pop_back();
    try_plan(recipe);
    drop_outsiders();
    if (std::chrono::steady_clock::now() > deadline) return;
  }
  if (!settled_ && contenders_.size() > 1) run_off();
  end_trial();
  settled_ = true;
}

bool Choice::begin_trial(int threads) {
  begun_ = true;
  try {
    auto trial = std::make_unique<Trial>(plain(), size_, batch_, threads);
    if (!trial->can_compare()) {
      settle_for_plain("the model's scores hardly vary, so that a wrong plan could not be told");
      return false;
    }
    float us = trial->time(plain(), kForever);
    trial_ = std::move(trial);
    std::lock_guard lock(mutex_);
    chosen_.us = us;
    plans_.push_back(chosen_);
    contenders_.push_back({plain_, 0});
    return true;
  } catch (const std::exception& error) {  // the model has its opinion of random pictures
    settle_for_plain(std::string("the plain plan failed on random pictures: ") + error.what());
    return false;
  }
}

void Choice::try_plan(const Recipe& recipe) {
  PlanReport report{recipe.engine, recipe.name, 0, {}};
  std::shared_ptr<Plan> plan;
  try {
    plan = recipe.make(size_, batch_);
    report.refusal = trial_->check(*plan, recipe.tolerance);
    if (report.refusal.empty()) report.us = trial_->time(*plan, best_us());
  } catch (const std::exception& error) {
    report.refusal = error.what();
  }
  std::lock_guard lock(mutex_);
  plans_.push_back(report);
  if (settled_ || !report.refusal.empty()) return;
  contenders_.push_back({plan, plans_.size() - 1});
  if (!is_better(report)) return;
  best_ = std::move(plan);
  chosen_ = report;
}

// The lock on trying_ is held.
void Choice::drop_outsiders() {
  std::lock_guard lock(mutex_);
  std::erase_if(contenders_, [&](const Contender& contender) {
    const PlanReport& report = plans_[contender.report];
    const bool is_of_another_engine = asked_.engine == chosen_.engine && report.engine != chosen_.engine;
    return is_of_another_engine || report.us > kClose * chosen_.us;
  });
}

// The lock on trying_ is held. Plans were timed one after the other, and the machine may have been slower in between.
void Choice::run_off() {
  std::vector<Plan*> plans;
  for (const Contender& contender : contenders_) plans.push_back(contender.plan.get());
  std::vector<float> us;
  try {
    us = trial_->time_in_turns(plans);
  } catch (const std::exception&) {
    return;  // what was found before stands
  }
  std::lock_guard lock(mutex_);
  if (settled_) return;
  for (std::size_t i = 0; i < us.size(); ++i) plans_[contenders_[i].report].us = us[i];
  const Contender& winner = contenders_[static_cast<std::size_t>(std::min_element(us.begin(), us.end()) - us.begin())];
  best_ = winner.plan == plain_ ? nullptr : winner.plan;
  chosen_ = plans_[winner.report];
}

// The lock on trying_ is held.
void Choice::end_trial() {
  trial_.reset();
  contenders_.clear();
}

// The mutex is held. An engine that was asked for is better than a faster one.
bool Choice::is_better(const PlanReport& report) const {
  if (!report.refusal.empty()) return false;
  return report.us < chosen_.us || (asked_.engine == report.engine && chosen_.engine != asked_.engine);
}

void Choice::settle_for_plain(const std::string& why) {
  std::lock_guard lock(mutex_);
  for (PlanReport& plan : plans_) {
    if (plan.engine == chosen_.engine && plan.plan == chosen_.plan) plan.refusal = why;
  }
  best_ = nullptr;
  chosen_ = {plain_recipe_.engine, plain_recipe_.name, 0, why};
  settled_ = true;
}

float Choice::best_us() const {
  std::lock_guard lock(mutex_);
  return chosen_.us;
}

std::shared_ptr<Plan> Choice::best(EngineChoice& engine) const {
  std::lock_guard lock(mutex_);
  engine = chosen_.engine;
  return best_;
}

std::vector<std::shared_ptr<Plan>> Choice::plans() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Plan>> made;
  for (const auto& plan : {plain_, best_}) {
    if (plan) made.push_back(plan);
  }
  return made;
}

ChoiceReport Choice::report() const {
  std::lock_guard lock(mutex_);
  return {size_, batch_, asked_, settled_, chosen_, plans_};
}

Scores Choices::run(const TensorBatch& batch, TensorSize size, int threads, Wish asked) {
  if (auto choice = find(batch.images, size, asked)) return choice->run(batch, threads);
  return plain_.make(size, batch.images)->run(batch, threads);
}

std::shared_ptr<Choice> Choices::find(std::size_t images, TensorSize size, Wish asked) {
  std::lock_guard lock(mutex_);
  const std::size_t batch = working_batch(images);
  auto found = std::find_if(entries_.begin(), entries_.end(),
                            [&](const Entry& entry) { return entry.choice->matches(size, batch, asked); });
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
  } else {
    if (entries_.size() >= kMaxChoices && !make_room()) return nullptr;
    entries_.push_front({std::make_shared<Choice>(size, batch, asked, plain_, recipes_), {}});
  }
  entries_.front().last_use = Clock::now();
  return entries_.front().choice;
}

// The mutex is held. Whatever is in use stays: it was not cheap.
bool Choices::make_room() {
  auto now = Clock::now();
  auto place = std::find_if(entries_.rbegin(), entries_.rend(), [&](const Entry& entry) {
    return !entry.choice->has_begun() || now - entry.last_use > kIdle;
  });
  if (place == entries_.rend()) return false;
  entries_.erase(std::next(place).base());
  return true;
}

// Several choices may share a plan.
std::size_t Choices::memory() const {
  std::lock_guard lock(mutex_);
  std::set<std::shared_ptr<Plan>> plans;
  for (const Entry& entry : entries_) {
    for (auto& plan : entry.choice->plans()) plans.insert(std::move(plan));
  }
  std::size_t bytes = 0;
  for (const auto& plan : plans) bytes += plan->memory();
  return bytes;
}

ModelDescription Choices::describe() const {
  std::lock_guard lock(mutex_);
  ModelDescription description;
  for (const Entry& entry : entries_) description.choices.push_back(entry.choice->report());
  return description;
}

}  // namespace imagecalc
