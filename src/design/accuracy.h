// The accuracy model: what a format's accuracy is, from the trainings of a few others.
//
// A Gaussian process (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapters 2 and 5): accuracy is a
// smooth function of what distinguishes formats, and a training measures it with the noise of its seed. It gives every format
// its own mean and its own uncertainty, small near what was trained and large far from it, which no curve over buckets can.
//
// What is smooth is the accuracy's angle, asin(sqrt(accuracy)): of a share that is counted on so many pictures it has the same
// scatter everywhere, and near 1 a step costs as much as it is hard to take (Anscombe, "The transformation of Poisson, binomial
// and negative-binomial data", 1948).
#pragma once

#include <memory>
#include <vector>

#include "format/format.h"

namespace imagecalc {

// A training that has ended.
struct AccuracySample {
  Format format;
  double bytes = 0;          // mean of a value
  double accuracy = 0;       // 0..1
  bool stem = false;         // the model begins with a convolution over a block's coefficients
  bool handed_down = false;  // from another trial's weights by few epochs: they may be some points off what all epochs reach
};

class AccuracyModel {
 public:
  // At least one sample, or Error(invalid_argument). The same samples in the same order give the same model.
  explicit AccuracyModel(const std::vector<AccuracySample>& samples);
  ~AccuracyModel();
  AccuracyModel(const AccuracyModel&) = delete;
  AccuracyModel& operator=(const AccuracyModel&) = delete;

  // Where trainings from the file's weights end in the middle, 0..1, how uncertain that is, and how far a single training lies
  // from it; nine of ten trainings, each with a seed of its own, end between low and high.
  struct Estimate {
    double mean = 0, deviation = 0, seed_deviation = 0, low = 0, high = 0;
  };
  Estimate predict(const Format& format, bool stem, double bytes) const;

 private:
  class Process;
  std::unique_ptr<const Process> process_;
};

}  // namespace imagecalc
