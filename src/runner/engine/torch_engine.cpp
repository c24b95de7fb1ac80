#include <chrono>
#include <deque>
#include <mutex>
#include <utility>

#include "runner/device/device.h"
#include "runner/engine/choose.h"
#include "runner/engine/engine.h"
#include "runner/engine/onnx_file.h"
#include "runner/engine/openvino_plan.h"
#include "runner/engine/stem.h"
#include "runner/engine/torch_plans.h"
#include "runner/engine/trial.h"

namespace imagecalc {

namespace {

constexpr std::int64_t kMaxEdge = 65536;
constexpr std::int64_t kMaxArea = std::int64_t{8192} * 8192;
constexpr std::int64_t kInspectedImages = 3;

// Its plans: the plain one, then those that are likely to be fast.
Choices choices_of(const std::shared_ptr<FreezableModule>& module, int threads) {
  std::vector<Recipe> recipes = openvino_recipes(module, threads);
  if (has_bf16()) recipes.push_back(bf16_recipe(module, threads));
  for (Recipe& recipe : torch_recipes(module)) recipes.push_back(std::move(recipe));
  return Choices(plain_recipe(module), std::move(recipes));
}

// A model's plans for one device. On each size the device's plain plan is first compared with the CPU's.
class DevicePlans {
 public:
  DevicePlans(Device& device, std::shared_ptr<FreezableModule> module)
      : name_(device.name()), module_(std::move(module)), recipes_(device.recipes(module_)) {}

  Scores run(const TensorBatch& batch, TensorSize size, int threads, Wish asked) {
    return choices_.run(batch, size, threads, asked);
  }

  std::string refusal(TensorSize size) {
    std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    std::erase_if(verdicts_, [&](const Verdict& verdict) { return verdict.until <= now; });
    for (const Verdict& verdict : verdicts_) {
      if (verdict.size == size) return verdict.refusal;
    }
    constexpr std::size_t kMostSizes = 1000;
    if (verdicts_.size() == kMostSizes) verdicts_.clear();
    verdicts_.push_back(compare(size));
    return verdicts_.back().refusal;
  }

  // Of its plans, about: they lie on the device, and count for the cache's cap as others do.
  std::size_t memory() const { return choices_.memory(); }

  // As choices and, for the sizes that it refuses, why.
  void describe(ModelDescription& description) const {
    for (ChoiceReport& choice : choices_.describe().choices) {
      choice.device = name_;
      description.choices.push_back(std::move(choice));
    }
    std::unique_lock lock(mutex_, std::try_to_lock);  // not while one is being compared
    if (!lock) return;
    for (const Verdict& verdict : verdicts_) {
      if (verdict.refusal.empty()) continue;
      ChoiceReport report{.size = verdict.size, .batch = 0, .asked = {}, .settled = true, .chosen = {}, .plans = {}, .device = name_};
      report.plans.push_back({EngineChoice::libtorch, recipes_.front().name, 0, verdict.refusal});
      description.choices.push_back(std::move(report));
    }
  }

 private:
  using Clock = std::chrono::steady_clock;

  // Whether tensors of a size are for the device: why not, or nothing; and how long that holds.
  struct Verdict {
    TensorSize size{0, 0};
    std::string refusal = {};
    Clock::time_point until = Clock::time_point::max();
  };

  Verdict compare(TensorSize size) const try {
    const auto plan = recipes_.front().make(size, 1);
    const std::vector<float> zeros(std::size_t{3} * size.height * size.width);
    plan->run({zeros.data(), 1}, 1);  // a model that does not run there need not run here
    auto cpu = plain_recipe(module_).make(size, 1);
    Trial trial(*cpu, size, 1, 1);
    if (!trial.can_compare()) return {size};  // all its scores are alike, wherever it runs
    return {size, trial.check(*plan, kDeviceTolerance)};
  } catch (const Error& error) {
    constexpr std::chrono::seconds kAWhile{10};  // until there may be room
    if (error.fault() == Fault::out_of_memory) return {size, error.what(), Clock::now() + kAWhile};
    return {size, error.what()};
  } catch (const std::exception& error) {
    return {size, error.what()};
  }

  const std::string name_;
  const std::shared_ptr<FreezableModule> module_;
  const std::vector<Recipe> recipes_;
  Choices choices_{recipes_.front(), {recipes_.begin() + 1, recipes_.end()}};
  mutable std::mutex mutex_;  // of what follows; held while a size is compared
  std::vector<Verdict> verdicts_;
};

class PlannedModel : public Model {
 public:
  PlannedModel(std::span<const std::uint8_t> bytes, int threads, const Devices& devices)
      : module_(is_onnx(bytes) ? nullptr : std::make_shared<FreezableModule>(load_module(bytes), bytes.size())),
        file_bytes_(bytes.size()),
        choices_(module_ ? choices_of(module_, threads) : Choices(onnx_recipe(bytes, threads), {})) {
    for (int i = 0; module_ && i < static_cast<int>(devices.count()); ++i) on_devices_.emplace_back(devices[i], module_);
  }

  Scores run(const TensorBatch& batch, TensorSize size, int threads, Wish asked) override {
    if (asked.device == kCpu) return choices_.run(batch, size, threads, asked);
    return on_devices_.at(static_cast<std::size_t>(asked.device)).run(batch, size, threads, asked);
  }
  std::string device_refusal(int device, TensorSize size) override {
    if (!module_) return "ONNX models run on the CPU alone";
    return on_devices_.at(static_cast<std::size_t>(device)).refusal(size);
  }
  ModelDescription describe() const override {
    ModelDescription description = choices_.describe();
    for (const DevicePlans& plans : on_devices_) plans.describe(description);
    return description;
  }
  std::size_t memory() const override {
    std::size_t bytes = (module_ ? module_->memory() : file_bytes_) + choices_.memory();
    for (const DevicePlans& plans : on_devices_) bytes += plans.memory();
    return bytes;
  }

 private:
  const std::shared_ptr<FreezableModule> module_;  // null for ONNX
  const std::size_t file_bytes_;
  Choices choices_;
  std::deque<DevicePlans> on_devices_;
};

at::Tensor random_batch(TensorShape shape) {
  if (shape.height < 1 || shape.width < 1 || shape.height > kMaxEdge || shape.width > kMaxEdge ||
      std::int64_t{shape.height} * shape.width > kMaxArea) {
    throw Error(Fault::limit_exceeded,
                "a tensor of " + std::to_string(shape.height) + "x" + std::to_string(shape.width) + " is out of range");
  }
  std::int64_t sizes[] = {kInspectedImages, 3, shape.height, shape.width};
  return at::randn(sizes, at::kFloat);
}

// outputs_of: of the model for that batch.
template <typename Outputs>
InspectReply::Shape try_shape(TensorShape shape, Outputs&& outputs_of) {
  try {
    return {outputs_of(random_batch(shape)), {}};
  } catch (const Error& error) {
    return {0, error.what()};
  }
}

std::vector<at::Tensor> running_means(const torch::jit::Module& module) {
  std::vector<at::Tensor> means;
  for (const auto& buffer : module.named_buffers()) {
    if (buffer.name.ends_with("running_mean")) means.push_back(buffer.value);
  }
  return means;
}

// Runs a batch in training mode and looks whether batch norm noticed. Spoils the module.
bool statistics_move(torch::jit::Module& module, TensorShape shape) {
  std::vector<at::Tensor> means = running_means(module), before;
  if (means.empty()) return true;
  for (const at::Tensor& mean : means) before.push_back(mean.clone());
  try {
    at::NoGradGuard no_gradients;
    module.train();
    forward(module, random_batch(shape));
  } catch (const Error&) {
    return false;  // it runs in evaluation mode only
  }
  for (std::size_t i = 0; i < means.size(); ++i) {
    if (!means[i].equal(before[i])) return true;
  }
  return false;
}

// Why its first convolution cannot be replaced; empty where it can.
std::string stem_refusal(torch::jit::Module module) {
  try {
    set_stem(module, 2);
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

class TorchEngine : public Engine {
 public:
  // LibTorch and oneDNN set themselves up at their first convolution.
  TorchEngine(int threads, const Devices& devices) : threads_(threads), devices_(devices) {
    c10::InferenceMode no_gradients;
    at::conv2d(at::zeros({1, 3, 16, 16}), at::zeros({8, 3, 3, 3}));
  }

  std::shared_ptr<Model> load(std::span<const std::uint8_t> bytes) override {
    return std::make_shared<PlannedModel>(bytes, threads_, devices_);
  }

  InspectReply inspect(const InspectModel& request) override {
    return is_onnx(request.bytes) ? inspect_onnx(request) : inspect_module(request);
  }

  std::vector<EngineChoice> libraries() const override {
    std::vector<EngineChoice> libraries{EngineChoice::libtorch};
    if (kHasOpenVino) libraries.push_back(EngineChoice::openvino);
    return libraries;
  }

 private:
  InspectReply inspect_module(const InspectModel& request) const {
    torch::jit::Module module = load_module(request.bytes);
    InspectReply reply;
    reply.parameters = trainable_parameters(module);
    auto outputs_of = [&](const at::Tensor& batch) {
      c10::InferenceMode no_gradients;
      return static_cast<std::uint32_t>(forward(module, batch).size(1));
    };
    const TensorShape* accepted = nullptr;
    for (const TensorShape& shape : request.shapes) {
      reply.shapes.push_back(try_shape(shape, outputs_of));
      if (!accepted && reply.shapes.back().outputs > 0) accepted = &shape;
    }
    if (accepted) reply.learns_statistics = statistics_move(module, *accepted);
    if (request.try_stem) reply.stem_refusal = stem_refusal(load_module(request.bytes));
    return reply;
  }

  InspectReply inspect_onnx(const InspectModel& request) const {
    Recipe recipe = onnx_recipe(request.bytes, threads_);
    InspectReply reply;
    reply.onnx = true;
    auto outputs_of = [&](const at::Tensor& batch) {
      const TensorSize size{static_cast<int>(batch.size(2)), static_cast<int>(batch.size(3))};
      return recipe.make(size, kInspectedImages)->run({batch.data_ptr<float>(), kInspectedImages}, threads_).outputs;
    };
    for (const TensorShape& shape : request.shapes) reply.shapes.push_back(try_shape(shape, outputs_of));
    return reply;
  }

  const int threads_;
  const Devices& devices_;
};

}  // namespace

std::unique_ptr<Engine> make_engine(int threads) {
  static const Devices none({});
  return make_engine(threads, none);
}

std::unique_ptr<Engine> make_engine(int threads, const Devices& devices) {
  // Activations that all but vanish, as behind a SiLU, would make the arithmetic up to a third slower. Threads have it from
  // the one that begins them.
  at::globalContext().setFlushDenormal(true);
  return std::make_unique<TorchEngine>(threads, devices);
}

}  // namespace imagecalc
