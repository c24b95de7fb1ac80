// Tries plans: are their scores those of the plain plan, and how long do they take?
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "runner/engine/plan.h"

namespace imagecalc {

// Empty where other equals plain up to rounding, else what is wrong with it.
std::string score_difference(const Scores& plain, const Scores& other, float tolerance = kScoreTolerance);

inline constexpr float kTrialUs = 200'000;  // what a run of a trial may take, about

// Images that make a model's scores vary, and what the plain plan says of them.
class Trial {
 public:
  // For batches of about that many images, or as many as a plan manages in run_us. Throws what the plain plan throws.
  Trial(Plan& plain, TensorSize size, std::size_t batch, int threads, float run_us = kTrialUs);

  // Whether the scores vary. Where they do not, a plan that is wrong could not be told.
  bool can_compare() const { return can_compare_; }

  // Empty where the plan is right.
  std::string check(Plan& plan, float tolerance = kScoreTolerance) const;

  // Microseconds an image, in the best of several runs; of few, but two at least, where these take more than twice as much
  // as best_us.
  float time(Plan& plan, float best_us) const;

  // Of plans that take turns, so that whatever else the machine does slows all of them: the medians of their runs, which is
  // what they will take from day to day. A plan whose best run is good may suffer more than others from what runs beside it.
  std::vector<float> time_in_turns(const std::vector<Plan*>& plans) const;

 private:
  void draw(std::size_t images);
  bool find_scale(Plan& plain);
  Scores run(Plan& plan, std::size_t images) const;
  std::size_t affordable_batch(float image_us) const;
  std::size_t timing_batch(Plan& plan) const;
  float time_once(Plan& plan, std::size_t batch) const;

  const std::size_t image_floats_;
  const int threads_;
  const float run_us_;
  const std::size_t full_batch_;
  float plain_us_ = 0;     // that the plain plan takes for an image, about
  std::size_t batch_ = 1;  // that it manages
  float scale_ = 1;
  std::vector<float> images_;
  Scores plain_;
  bool can_compare_ = false;
};

}  // namespace imagecalc
