#include "design/accuracy.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include <Eigen/Cholesky>
#include <Eigen/Core>

#include "format/error.h"

namespace imagecalc {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

// ---- what distinguishes formats

constexpr int kFeatures = 8;
using Features = Eigen::Matrix<double, kFeatures, 1>;

// Each over a range of about 2, so that one length scale suits all to begin with.
Features features_of(const Format& format, bool stem, double bytes) {
  const Geometry shape = geometry(format, format.size, format.size);
  Features features;
  features << std::log2(std::max(bytes, 1.0)) / 2,
      std::log2(std::max<double>(1, static_cast<double>(shape.tensor_area()))) / 4,
      std::log2(format.block) / 2,
      std::log2(format.kept) / 2,
      std::log2(format.quantizer),
      halves_rows(format.subsampling),
      halves_columns(format.subsampling),
      stem;
  return features;
}

// ---- hyperparameters, in logarithms, as parts of the deviation of the samples' angles

enum Hyperparameter { kReach, kSmooth = kReach + kFeatures, kSlope, kNoise, kHandedDown, kHandedDownNoise, kHyperparameters };
using Hyperparameters = Eigen::Matrix<double, kHyperparameters, 1>;

// What is believed of them before there is a sample: few samples say little of so many. Normal in the logarithm.
struct Belief {
  Hyperparameters mean, deviation;
};
Belief prior_belief() {
  Belief belief;
  belief.mean.head<kFeatures>().setConstant(std::log(2.0));
  belief.deviation.head<kFeatures>().setConstant(0.7);
  const auto set = [&](int parameter, double value, double deviation) {
    belief.mean[parameter] = std::log(value);
    belief.deviation[parameter] = deviation;
  };
  set(kSmooth, 0.7, 0.5);
  set(kSlope, 0.3, 0.7);
  set(kNoise, 0.45, 0.4);
  set(kHandedDown, 0.1, 0.5);  // little: those from the file's weights are few, and all large, so that it could be their size as well
  set(kHandedDownNoise, 0.25, 0.5);
  return belief;
}

constexpr double kConstant = 0.7;        // of the mean, in the same parts: it lies near the samples'
constexpr double kLeastDeviation = 0.01;  // of the samples' angles: equal ones do not make the rest certain

double squared(double value) { return value * value; }

constexpr double kNineOfTen = 1.645;  // deviations of a normal distribution, to each side
constexpr double kRightAngle = std::numbers::pi / 2;

double angle_of(double accuracy) { return std::asin(std::sqrt(std::clamp(accuracy, 0.0, 1.0))); }
double accuracy_of(double angle) { return squared(std::sin(std::clamp(angle, 0.0, kRightAngle))); }

// Of the accuracy, where the angle has that deviation. At the ends half of it leads nowhere.
double deviation_at(double angle, double deviation) {
  return (accuracy_of(angle + deviation) - accuracy_of(angle - deviation)) / 2;
}

}  // namespace

// The process, conditioned on samples whose angles are shifted and scaled to mean 0 and deviation 1.
class AccuracyModel::Process {
 public:
  explicit Process(const std::vector<AccuracySample>& samples) : inputs_(kFeatures, samples.size()), values_(samples.size()) {
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const auto column = static_cast<Eigen::Index>(i);
      inputs_.col(column) = features_of(samples[i].format, samples[i].stem, samples[i].bytes);
      values_[column] = angle_of(samples[i].accuracy);
      handed_down_.push_back(samples[i].handed_down);
    }
    middle_ = inputs_.rowwise().mean();
    inputs_.colwise() -= middle_;
    shift_ = values_.mean();
    scale_ = std::max(kLeastDeviation, std::sqrt((values_.array() - shift_).square().mean()));
    values_ = (values_.array() - shift_) / scale_;
    maximise();
    weights_ = factor_.solve(values_);
    precision_ = factor_.solve(MatrixXd::Identity(values_.size(), values_.size()));
    scaled_ = inputs_.array().colwise() / parameters_.head<kFeatures>().array().exp();
  }

  Estimate predict(const Format& format, bool stem, double bytes) const {
    const Features input = features_of(format, stem, bytes) - middle_;
    const VectorXd shared = covariances_with(input);
    const double variance = covariance(input, input, parameters_) - shared.dot(precision_ * shared);
    const double angle = std::clamp(shift_ + scale_ * shared.dot(weights_), 0.0, kRightAngle);
    const double deviation = scale_ * std::sqrt(std::max(variance, 0.0)), noise = scale_ * std::exp(parameters_[kNoise]);
    const double reach = kNineOfTen * std::hypot(deviation, noise);
    return {accuracy_of(angle), deviation_at(angle, deviation), deviation_at(angle, noise), accuracy_of(angle - reach),
            accuracy_of(angle + reach)};
  }

 private:
  // Of the function at two places: a constant, a slope and a smooth rest.
  static double covariance(const Features& a, const Features& b, const Hyperparameters& parameters) {
    const double distance = ((a - b).array() / parameters.head<kFeatures>().array().exp()).square().sum();
    return squared(kConstant) + std::exp(2 * parameters[kSlope]) * a.dot(b) +
           std::exp(2 * parameters[kSmooth] - distance / 2);
  }

  // The same between the samples and one place, all at once: a design asks for thousands.
  VectorXd covariances_with(const Features& input) const {
    const Features place = input.array() / parameters_.head<kFeatures>().array().exp();
    const Eigen::ArrayXd distances = (scaled_.colwise() - place).colwise().squaredNorm();
    const Eigen::ArrayXd products = inputs_.transpose() * input;
    return squared(kConstant) + std::exp(2 * parameters_[kSlope]) * products + (2 * parameters_[kSmooth] - distances / 2).exp();
  }

  MatrixXd covariances(const Hyperparameters& parameters) const {
    const Eigen::Index count = values_.size();
    const double noise = std::exp(2 * parameters[kNoise]), handed_down = std::exp(2 * parameters[kHandedDown]);
    const double handed_down_noise = std::exp(2 * parameters[kHandedDownNoise]);
    MatrixXd all(count, count);
    for (Eigen::Index i = 0; i < count; ++i) {
      for (Eigen::Index j = 0; j <= i; ++j) {
        all(i, j) = covariance(inputs_.col(i), inputs_.col(j), parameters);
        if (handed_down_[i] && handed_down_[j]) all(i, j) += handed_down;
        all(j, i) = all(i, j);
      }
      all(i, i) += handed_down_[i] ? noise + handed_down_noise : noise;
    }
    return all;
  }

  // The logarithm of how likely the samples and the hyperparameters are, up to a constant. Keeps the factor where it is the
  // best so far.
  bool improve(const Hyperparameters& parameters, const Belief& belief) {
    const Eigen::LLT<MatrixXd> factor(covariances(parameters));
    if (factor.info() != Eigen::Success) return false;
    const double fit = values_.dot(factor.solve(values_)) / 2;
    const double volume = factor.matrixLLT().diagonal().array().log().sum();
    const double surprise = ((parameters - belief.mean).array() / belief.deviation.array()).square().sum() / 2;
    const double likelihood = -fit - volume - surprise;
    if (!(likelihood > likelihood_)) return false;  // nor where it is not a number
    likelihood_ = likelihood;
    parameters_ = parameters;
    factor_ = factor;
    return true;
  }

  // One parameter at a time, by steps that shrink: no derivative, and the same way every time.
  void maximise() {
    const Belief belief = prior_belief();
    improve(belief.mean, belief);
    for (double step = 0.8; step > 0.04; step /= 2) {
      for (bool better = true; better;) {
        better = false;
        for (int i = 0; i < kHyperparameters; ++i) {
          for (double by : {step, -step}) {
            Hyperparameters changed = parameters_;
            changed[i] += by;
            better |= improve(changed, belief);
          }
        }
      }
    }
  }

  Eigen::Matrix<double, kFeatures, Eigen::Dynamic> inputs_;  // a column a sample, less the middle
  VectorXd values_;
  std::vector<bool> handed_down_;
  Features middle_;
  double shift_ = 0, scale_ = 1;

  double likelihood_ = -std::numeric_limits<double>::infinity();
  Hyperparameters parameters_;
  Eigen::LLT<MatrixXd> factor_;  // of the covariances of the samples
  VectorXd weights_;    // the precision times the values
  MatrixXd precision_;  // the inverse of the covariances
  Eigen::Matrix<double, kFeatures, Eigen::Dynamic> scaled_;  // the inputs, in length scales
};

AccuracyModel::AccuracyModel(const std::vector<AccuracySample>& samples) {
  if (samples.empty()) {
    throw Error(Fault::invalid_argument, "an accuracy model needs at least one training",
                "Train at least one format before predicting the others.");
  }
  process_ = std::make_unique<Process>(samples);
}

AccuracyModel::~AccuracyModel() = default;

AccuracyModel::Estimate AccuracyModel::predict(const Format& format, bool stem, double bytes) const {
  return process_->predict(format, stem, bytes);
}

}  // namespace imagecalc
