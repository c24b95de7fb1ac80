#include "runner/train/training.h"

#include <chrono>
#include <cmath>
#include <future>
#include <mutex>
#include <numbers>
#include <numeric>
#include <optional>
#include <sstream>
#include <utility>

#include <ATen/Parallel.h>
#include <torch/optim/sgd.h>

#include "codec/mirror.h"
#include "runner/device/device_guard.h"
#include "runner/engine/openvino_plan.h"
#include "runner/engine/stem.h"
#include "runner/engine/torch_module.h"
#include "runner/train/parallel.h"
#include "runner/train/stored_samples.h"
#include "runner/train/tensors.h"

namespace imagecalc {

namespace {

constexpr double kMomentum = 0.9;
constexpr double kWeightDecay = 4e-5;
constexpr std::size_t kNormalisationPictures = 256;
constexpr std::int64_t kTop = 5;

// Pictures of a batch as the model reads them.
struct Batch {
  std::vector<float> samples;
  std::vector<std::int64_t> labels;
};

// Whether a picture's coefficients, once they are known, are all that augmentation needs.
bool suffice_for(Augmentation augmentation, const ModelInput& input) {
  if (input.rgb || augmentation == Augmentation::crop) return false;
  return augmentation == Augmentation::none || mirrors_exactly(input.format, input.format.size);
}

// Prepares batches. Every picture's random numbers follow from seed, epoch and its place in the data set alone.
class Loader {
 public:
  Loader(const ModelInput& input, const Normalisation& normalisation, const TrainSetup& setup, const DataSet& data,
         const TrainingPlace& place, std::uint64_t seed, const Interrupt& interrupt)
      : training_(data.training()),
        input_(input),
        normalisation_(normalisation),
        limits_{.max_pixels = setup.max_pixels},
        size_(tensor_size(input)),
        threads_(place.threads),
        augmentation_(setup.augmentation),
        seed_(seed),
        interrupt_(interrupt) {
    if (suffice_for(augmentation_, input_)) store(data.memory_left() / place.at_once, setup.spool_folder);
  }

  // Of the training pictures.
  Batch augmented(std::span<const std::size_t> chosen, std::uint64_t epoch) const {
    return prepare(training_, chosen, [&](std::size_t index, float* out) {
      Random random{seed_, epoch, index};
      if (stored_) return place_stored(index, flips(random), out);
      const Picture picture = training_[index].picture();
      const View view = augmentation_ == Augmentation::crop ? random_view(picture, random)
                                                            : View{whole_view(picture).box, flips(random)};
      make_tensor(picture, view, input_, normalisation_, out, interrupt_);
    });
  }
  Batch plain(const std::vector<Sample>& samples, std::span<const std::size_t> chosen) const {
    return prepare(samples, chosen, [&](std::size_t index, float* out) {
      make_whole_tensor(samples[index], input_, normalisation_, limits_, out, interrupt_);
    });
  }

  // The tensor shares the batch's memory.
  at::Tensor tensor(Batch& batch) const {
    std::int64_t shape[] = {static_cast<std::int64_t>(batch.labels.size()), 3, size_.height, size_.width};
    return at::from_blob(batch.samples.data(), shape, at::kFloat);
  }

 private:
  // Where there is no room for them, they are transformed in each epoch after all.
  void store(std::uint64_t memory, const std::string& spool_folder) try {
    stored_.emplace(training_, input_.format, memory, spool_folder, threads_, interrupt_);
  } catch (const Error& error) {
    if (error.fault() != Fault::limit_exceeded) throw;
  }

  bool flips(Random& random) const { return augmentation_ == Augmentation::flip && random.below(2) == 1; }

  void place_stored(std::size_t index, bool flip, float* out) const {
    Coefficients coefficients = stored_->read(index, interrupt_);
    if (flip) coefficients = mirrored(std::move(coefficients));
    place_normalised(coefficients, normalisation_, out);
  }

  template <typename MakeTensor>
  Batch prepare(const std::vector<Sample>& samples, std::span<const std::size_t> chosen, const MakeTensor& make) const {
    std::size_t floats = std::size_t{3} * size_.height * size_.width;
    Batch batch;
    batch.samples.resize(chosen.size() * floats);
    for (std::size_t index : chosen) batch.labels.push_back(samples[index].label());
    parallel_for(chosen.size(), threads_, [&](std::size_t i) { make(chosen[i], batch.samples.data() + i * floats); });
    return batch;
  }

  const std::vector<Sample>& training_;
  const ModelInput& input_;
  const Normalisation normalisation_;
  const Limits limits_;
  const TensorSize size_;
  const std::uint32_t threads_;
  const Augmentation augmentation_;
  const std::uint64_t seed_;
  const Interrupt& interrupt_;
  std::optional<StoredSamples> stored_;  // the training pictures, where they need not be transformed in each epoch
};

at::Tensor label_tensor(Batch& batch) {
  return at::from_blob(batch.labels.data(), {static_cast<std::int64_t>(batch.labels.size())}, at::kLong);
}

// Indices 0..count-1 in an order that the seed and the epoch determine.
std::vector<std::size_t> shuffled(std::size_t count, std::uint64_t seed, std::uint64_t epoch) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  Random random{seed, epoch};
  for (std::size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

// Up over the first 30 % of the steps, from a tenth, then down along a cosine.
double one_cycle(double peak, std::size_t step, std::size_t steps) {
  double at = (static_cast<double>(step) + 0.5) / static_cast<double>(steps);
  constexpr double kUp = 0.3;
  if (at < kUp) return peak * (0.1 + 0.9 * at / kUp);
  return peak * 0.5 * (1 + std::cos(std::numbers::pi * (at - kUp) / (1 - kUp)));
}

// The inverse of how frequent a class is, 1 where all are equally so.
at::Tensor balanced_weights(const std::vector<Sample>& samples, std::uint32_t classes) {
  std::vector<float> weights(classes);
  for (const Sample& sample : samples) ++weights[sample.label()];
  for (float& weight : weights) {
    weight = weight > 0 ? static_cast<float>(samples.size()) / (static_cast<float>(classes) * weight) : 0;
  }
  return at::tensor(weights);
}

// what, and fault: of the error where it is too large.
Blob save(const torch::jit::Module& module, const std::string& what, Fault fault) {
  std::ostringstream stream;
  guard_torch(("the " + what + " could not be saved").c_str(), [&] { module.save(stream); });
  std::string bytes = std::move(stream).str();
  if (bytes.size() > kMaxModelBytes) {
    throw Error(fault, "the " + what + " takes " + std::to_string(bytes.size()) + " bytes, more than 400 MB", "Use a smaller model.");
  }
  return {bytes.begin(), bytes.end()};
}

// at::manual_seed would seed all devices, those of other trainings, too.
void seed_generator(c10::Device place, std::uint64_t seed) {
  at::Generator generator = at::globalContext().defaultGenerator(place);
  std::lock_guard lock(generator.mutex());
  generator.set_current_seed(seed);
}

c10::Device place_of(Device* device) { return device ? device->backend().place() : c10::Device(c10::kCPU); }

// What a training starts from. Layers that are new, and what it draws later, follow from its seed.
torch::jit::Module module_of(const TrainSetup& setup, const Train& request, c10::Device place) {
  static std::mutex drawing;  // layers are drawn from the CPU's generator, which all trainings share
  torch::jit::Module module = load_module(request.start_from ? *request.start_from : setup.model);
  std::lock_guard lock(drawing);
  seed_generator(c10::kCPU, request.seed);
  if (request.stem > 0) set_stem(module, static_cast<int>(request.stem));
  if (place.type() != c10::kCPU) seed_generator(place, request.seed);
  module.to(place);
  return module;
}

class Training {
 public:
  Training(const TrainSetup& setup, const DataSet& data, const Train& request, const TrainingPlace& place,
           const Interrupt& interrupt)
      : setup_(setup),
        request_(request),
        data_(data),
        interrupt_(interrupt),
        threads_(place.threads),
        place_(place_of(place.device)),
        module_(module_of(setup, request, place_)),
        normalisation_(
            measure_normalisation(spread(data.training(), kNormalisationPictures), request.input, threads_, interrupt)),
        loader_(request.input, normalisation_, setup, data, place, request.seed, interrupt),
        batch_size_(std::min<std::size_t>(setup.batch_size, data.training().size())),
        batches_(data.training().size() / batch_size_),
        class_weights_(setup.balanced ? balanced_weights(data.training(), setup.classes).to(place_) : at::Tensor()) {}

  TrainReply run(const std::function<void(const Progress&)>& progress) {
    TrainReply reply;
    guard_torch("the training failed", [&] { train(reply, progress); });
    reply.normalisation = normalisation_;
    if (reply.epochs == request_.epochs) {
      guard_torch("the model could not be evaluated", [&] { evaluate(reply); });
      module_.to(c10::kCPU);
      reply.weights = save(module_, "trained model", Fault::limit_exceeded);
    }
    reply.seconds = std::chrono::duration<float>(std::chrono::steady_clock::now() - start_).count();
    return reply;
  }

 private:
  void train(TrainReply& reply, const std::function<void(const Progress&)>& progress) {
    std::vector<at::Tensor> parameters;
    for (const at::Tensor& parameter : module_.parameters()) parameters.push_back(parameter);
    torch::optim::SGD optimizer(
        parameters, torch::optim::SGDOptions(setup_.learning_rate).momentum(kMomentum).weight_decay(kWeightDecay));
    while (reply.epochs < request_.epochs && !fails_halfway(reply)) {
      module_.train();
      const double loss = train_epoch(reply.epochs++, optimizer);
      progress({reply.epochs, request_.epochs, static_cast<float>(loss)});
    }
  }

  // Looks, where it has been asked to and half of the epochs are done, whether the rest is worth it. Draws no random numbers and
  // leaves the model as it is: those that go on end as if nobody had looked.
  bool fails_halfway(TrainReply& reply) {
    if (!request_.least_halfway || reply.epochs == 0 || reply.epochs != request_.epochs / 2) return false;
    evaluate(reply);
    reply.halfway_accuracy = reply.accuracy;
    return reply.accuracy < *request_.least_halfway;
  }

  // The mean loss. The next batch is prepared while this one trains.
  double train_epoch(std::uint32_t epoch, torch::optim::SGD& optimizer) {
    const std::vector<std::size_t> order = shuffled(data_.training().size(), request_.seed, epoch);
    auto prepare = [&](std::size_t i) {
      return loader_.augmented(std::span(order).subspan(i * batch_size_, batch_size_), epoch);
    };
    auto next = std::async(std::launch::async, prepare, 0);
    double sum = 0;
    for (std::size_t i = 0; i < batches_; ++i) {
      Batch batch = next.get();
      if (i + 1 < batches_) next = std::async(std::launch::async, prepare, i + 1);
      set_learning_rate(optimizer, epoch * batches_ + i);
      sum += step(batch, optimizer);
      if (!std::isfinite(sum)) {
        throw Error(Fault::invalid_argument,
                    "training diverged in epoch " + std::to_string(epoch + 1) + ": the loss is not a finite number",
                    "Use a lower learning_rate.");
      }
      interrupt_.check();
    }
    return sum / static_cast<double>(batches_);
  }

  void set_learning_rate(torch::optim::SGD& optimizer, std::size_t step) const {
    double rate =
        setup_.one_cycle ? one_cycle(setup_.learning_rate, step, batches_ * request_.epochs) : setup_.learning_rate;
    for (auto& group : optimizer.param_groups()) group.options().set_lr(rate);
  }

  double step(Batch& batch, torch::optim::SGD& optimizer) {
    optimizer.zero_grad();
    at::Tensor loss = at::cross_entropy_loss(scores_of(batch), labels_of(batch), class_weights_);
    loss.backward();
    optimizer.step();
    return loss.item<double>();
  }

  at::Tensor scores_of(Batch& batch) {
    at::Tensor scores = forward(module_, loader_.tensor(batch).to(place_));
    if (scores.size(1) != setup_.classes) {
      throw Error(Fault::bad_model,
                  "the model gives " + std::to_string(scores.size(1)) + " scores, but the data has " +
                      std::to_string(setup_.classes) + " classes",
                  "Give the model's last layer as many outputs as there are distinct labels.");
    }
    return scores;
  }

  at::Tensor labels_of(Batch& batch) const { return label_tensor(batch).to(place_); }

  // The trained model in bfloat16 on the CPU, where it is wanted and this machine can. A model that OpenVINO cannot run has none.
  std::shared_ptr<Plan> bf16_plan() const {
    if (!request_.try_bf16 || !has_bf16()) return nullptr;
    try {
      torch::jit::Module module = guard_torch("the model could not be copied", [&] { return module_.deepcopy(); });
      guard_torch("the model could not be copied", [&] { module.to(c10::kCPU); });
      const Recipe recipe = bf16_recipe(std::make_shared<FreezableModule>(std::move(module)), static_cast<int>(threads_));
      return recipe.make(tensor_size(request_.input), batch_size_);
    } catch (const Error&) {
      return nullptr;
    }
  }

  // How many of a batch a plan gets right.
  std::int64_t correct_of(Plan& plan, Batch& batch) const {
    Scores scores = plan.run({batch.samples.data(), batch.labels.size()}, static_cast<int>(threads_));
    std::int64_t shape[] = {static_cast<std::int64_t>(batch.labels.size()), scores.outputs};
    return correct_of(at::from_blob(scores.values.data(), shape, at::kFloat), label_tensor(batch));
  }
  static std::int64_t correct_of(const at::Tensor& scores, const at::Tensor& labels) {
    return scores.argmax(1).eq(labels).sum().item<std::int64_t>();
  }

  static std::int64_t in_top_of(const at::Tensor& scores, const at::Tensor& labels) {
    const at::Tensor best = std::get<1>(scores.topk(std::min(kTop, scores.size(1)), 1));
    return best.eq(labels.unsqueeze(1)).sum().item<std::int64_t>();
  }

  // In bfloat16, too, once all epochs are done.
  void evaluate(TrainReply& reply) {
    at::NoGradGuard no_gradients;
    module_.eval();
    const std::vector<Sample>& samples = data_.validation();
    std::vector<std::size_t> order(samples.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const std::shared_ptr<Plan> bf16 = reply.epochs == request_.epochs ? bf16_plan() : nullptr;
    double loss = 0;
    std::int64_t correct = 0, in_top = 0, bf16_correct = 0;
    for (std::size_t i = 0; i < order.size(); i += setup_.batch_size) {
      interrupt_.check();
      std::size_t count = std::min<std::size_t>(setup_.batch_size, order.size() - i);
      Batch batch = loader_.plain(samples, std::span(order).subspan(i, count));
      const at::Tensor scores = scores_of(batch), labels = labels_of(batch);
      correct += correct_of(scores, labels);
      in_top += in_top_of(scores, labels);
      if (bf16) bf16_correct += correct_of(*bf16, batch);
      loss += at::cross_entropy_loss(scores, labels).item<double>() * static_cast<double>(count);
    }
    const auto part = [&](std::int64_t pictures) {
      return static_cast<float>(static_cast<double>(pictures) / static_cast<double>(samples.size()));
    };
    reply.accuracy = part(correct);
    reply.top5_accuracy = part(in_top);
    if (bf16) reply.bf16_accuracy = part(bf16_correct);
    reply.loss = static_cast<float>(loss / static_cast<double>(samples.size()));
  }

  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  const TrainSetup& setup_;
  const Train& request_;
  const DataSet& data_;
  const Interrupt& interrupt_;
  const std::uint32_t threads_;
  const c10::Device place_;
  torch::jit::Module module_;
  const Normalisation normalisation_;
  const Loader loader_;
  const std::size_t batch_size_, batches_;  // the last partial batch is left out, unless it is the only one
  const at::Tensor class_weights_;          // undefined: all count the same
};

}  // namespace

void check_trainable(const TrainSetup& setup) {
  if (trainable_parameters(load_module(setup.model)) > 0) return;
  throw Error(Fault::bad_model, "the model has no parameters that can be trained",
              "Save it with torch.jit.script, not frozen.");
}

Blob make_stem(const Blob& model, std::uint32_t kernel) {
  torch::jit::Module module = load_module(model);
  seed_generator(c10::kCPU, kernel);  // the same one each time it is asked for
  set_stem(module, static_cast<int>(kernel));
  return save(module, "model with a stem of " + std::to_string(kernel) + " x " + std::to_string(kernel), Fault::bad_model);
}

TrainReply train_model(const TrainSetup& setup, const DataSet& data, const Train& request, const TrainingPlace& place,
                       const std::function<void(const Progress&)>& progress, const Interrupt& interrupt) {
  if (data.training().size() < 2 || data.validation().empty()) {
    throw Error(Fault::invalid_argument,
                "too few pictures to train on: " + std::to_string(data.training().size()) + " to train, " +
                    std::to_string(data.validation().size()) + " to validate",
                "At least 2 pictures to train and 1 to validate are needed.");
  }
  at::set_num_threads(static_cast<int>(place.threads));
  auto run = [&] { return Training(setup, data, request, place, interrupt).run(progress); };
  if (!place.device) return run();
  static std::once_flag set;
  std::call_once(set, [] { at::globalContext().setDeterministicCuDNN(true); });
  try {
    return guard_device(place.device->backend(), run);
  } catch (const Error& error) {
    if (error.fault() != Fault::out_of_memory) throw;
    throw Error(Fault::out_of_memory, error.what(), "Use a smaller batch_size, or imagecalc.device = 'cpu'.");
  }
}

}  // namespace imagecalc
