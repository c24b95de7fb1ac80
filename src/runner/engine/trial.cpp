#include "runner/engine/trial.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>

namespace imagecalc {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMinImages = 3;
constexpr float kTimingUs = 60'000;  // what a plan may take to be timed, but for
constexpr int kMinRuns = 3;
constexpr float kDisturbanceUs = 5'000;  // what another process may take a core away for
constexpr float kLongUs = 1'000'000;  // after that two will do
constexpr std::size_t kPiece = 8;
constexpr float kMaxSlowdown = 10;  // of a run, for the sake of eight images
constexpr std::size_t kMaxFloats = std::size_t{8} << 20;  // of the images
constexpr float kMaxScale = 1e6f;
constexpr float kMinVariation = 0.01f;  // of the scores, beside the largest of them

float microseconds_since(Clock::time_point start) {
  return std::chrono::duration<float, std::micro>(Clock::now() - start).count();
}

float largest(const Scores& scores) {
  float magnitude = 0;
  for (float value : scores.values) magnitude = std::max(magnitude, std::fabs(value));
  return magnitude;
}

// How far the scores of one class lie apart at most.
float spread(const Scores& scores) {
  float widest = 0;
  for (std::size_t column = 0; column < scores.outputs; ++column) {
    float low = scores.values[column], high = low;
    for (std::size_t i = column; i < scores.values.size(); i += scores.outputs) {
      low = std::min(low, scores.values[i]);
      high = std::max(high, scores.values[i]);
    }
    widest = std::max(widest, high - low);
  }
  return widest;
}

bool is_finite(const Scores& scores) {
  return std::all_of(scores.values.begin(), scores.values.end(), [](float value) { return std::isfinite(value); });
}

std::string percent(float part) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2g %%", 100 * static_cast<double>(part));
  return text;
}

Scores first_rows(const Scores& scores, std::size_t rows) {
  const float* begin = scores.values.data();
  return {scores.outputs, {begin, begin + rows * scores.outputs}};
}

// range: how far the plain scores of a class lie apart.
std::string compare(const Scores& plain, const Scores& other, float range, float tolerance) {
  if (other.outputs != plain.outputs || other.values.size() != plain.values.size()) {
    return "it gives " + std::to_string(other.outputs) + " scores an image instead of " + std::to_string(plain.outputs);
  }
  if (!is_finite(other)) return "its scores are not all finite";
  float worst = 0;
  for (std::size_t i = 0; i < plain.values.size(); ++i) {
    worst = std::max(worst, std::fabs(other.values[i] - plain.values[i]));
  }
  if (worst <= tolerance * range) return {};
  return "its scores are off by " + percent(worst / range) + " of the range of plain LibTorch's";
}

// Of an even number of values the lower of the two in the middle.
float lower_median(std::vector<float> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

std::string score_difference(const Scores& plain, const Scores& other, float tolerance) {
  return compare(plain, other, spread(plain), tolerance);
}

Trial::Trial(Plan& plain, TensorSize size, std::size_t batch, int threads, float run_us)
    : image_floats_(std::size_t{3} * size.height * size.width),
      threads_(threads),
      run_us_(run_us),
      full_batch_(std::clamp(kMaxFloats / image_floats_, std::size_t{1}, batch)) {
  can_compare_ = find_scale(plain);
  if (!can_compare_) return;
  draw(std::max(full_batch_, kMinImages));
  plain_us_ = time_once(plain, kMinImages);
  batch_ = affordable_batch(plain_us_);
  plain_ = run(plain, std::max(batch_, kMinImages));
}

std::size_t Trial::affordable_batch(float image_us) const {
  std::size_t batch = 1;
  while (2 * batch <= full_batch_ && static_cast<float>(2 * batch) * image_us <= run_us_) batch *= 2;
  return batch;
}

// Noise around a level of each channel, in three strengths that take turns.
void Trial::draw(std::size_t images) {
  constexpr float kStrengths[] = {1, 0.3f, 3};
  std::minstd_rand random(7);
  std::uniform_real_distribution<float> uniform(-1, 1);
  images_.resize(images * image_floats_);
  const std::size_t plane = image_floats_ / 3;
  float level = 0;
  for (std::size_t i = 0; i < images_.size(); ++i) {
    if (i % plane == 0) level = uniform(random);
    images_[i] = scale_ * kStrengths[i / image_floats_ % std::size(kStrengths)] * (level + uniform(random));
  }
}

// A net with random weights may shrink what it reads until its constants are all that is left; it needs larger numbers than
// pictures have.
bool Trial::find_scale(Plan& plain) {
  for (scale_ = 1; scale_ <= kMaxScale; scale_ *= 10) {
    draw(kMinImages);
    Scores scores = run(plain, kMinImages);
    if (!is_finite(scores)) return false;
    if (spread(scores) > kMinVariation * largest(scores)) return true;
  }
  return false;
}

Scores Trial::run(Plan& plan, std::size_t images) const {
  Scores all;
  for (std::size_t i = 0; i < images; i += batch_) {
    Scores scores = plan.run({images_.data() + i * image_floats_, std::min(batch_, images - i)}, threads_);
    all.outputs = scores.outputs;
    all.values.insert(all.values.end(), scores.values.begin(), scores.values.end());
  }
  return all;
}

std::string Trial::check(Plan& plan, float tolerance) const {
  const float range = spread(plain_);
  std::string difference = compare(plain_, run(plan, std::max(batch_, kMinImages)), range, tolerance);
  if (!difference.empty() || batch_ == 1) return difference;
  return compare(first_rows(plain_, batch_ - 1), run(plan, batch_ - 1), range, tolerance);  // nor may its size matter
}

// How a plan fares with a few images says little of how it fares with many: it may outgrow the caches, or be made for eight at
// once, when five would cost as much. So it runs eight, where the plain one does so in about two seconds, else one; and as many
// more as it manages in the time.
std::size_t Trial::timing_batch(Plan& plan) const {
  if (batch_ == full_batch_) return full_batch_;
  const bool manages_eight = static_cast<float>(kPiece) * plain_us_ <= kMaxSlowdown * run_us_;
  const std::size_t least = manages_eight ? std::min(kPiece, full_batch_) : 1;
  plan.run({images_.data(), least}, threads_);  // the first run may compile
  return std::max(least, affordable_batch(time_once(plan, least)));
}

// Microseconds an image.
float Trial::time_once(Plan& plan, std::size_t batch) const {
  const auto start = Clock::now();
  plan.run({images_.data(), batch}, threads_);
  return microseconds_since(start) / static_cast<float>(batch);
}

float Trial::time(Plan& plan, float best_us) const {
  const std::size_t batch = timing_batch(plan);
  float best = std::numeric_limits<float>::max();
  const auto begin = Clock::now();
  for (int runs = 0; runs < kMinRuns || microseconds_since(begin) < kTimingUs; ++runs) {
    best = std::min(best, time_once(plan, batch));
    const float taken = microseconds_since(begin);
    if (runs > 0 && ((best > 2 * best_us && taken > kDisturbanceUs) || taken > kLongUs)) break;
  }
  return best;
}

std::vector<float> Trial::time_in_turns(const std::vector<Plan*>& plans) const {
  std::vector<std::size_t> batches;
  for (Plan* plan : plans) batches.push_back(timing_batch(*plan));
  std::vector<std::vector<float>> taken(plans.size());
  const float enough = kTimingUs * static_cast<float>(plans.size());
  const auto begin = Clock::now();
  for (int turns = 0; turns < kMinRuns || microseconds_since(begin) < enough; ++turns) {
    for (std::size_t i = 0; i < plans.size(); ++i) taken[i].push_back(time_once(*plans[i], batches[i]));
    if (turns > 0 && microseconds_since(begin) > kLongUs) break;
  }
  std::vector<float> medians;
  for (const std::vector<float>& us : taken) medians.push_back(lower_median(us));
  return medians;
}

}  // namespace imagecalc
