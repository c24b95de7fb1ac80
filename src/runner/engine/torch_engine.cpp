#include <utility>

#include "runner/engine/choose.h"
#include "runner/engine/engine.h"
#include "runner/engine/openvino_plan.h"
#include "runner/engine/torch_plans.h"

namespace imagecalc {

namespace {

constexpr std::int64_t kMaxEdge = 65536;
constexpr std::int64_t kMaxArea = std::int64_t{8192} * 8192;

// Its plans: the plain one, then those that are likely to be fast.
Choices choices_of(const std::shared_ptr<FreezableModule>& module, int threads) {
  std::vector<Recipe> recipes{openvino_recipe(module, threads)};
  for (Recipe& recipe : torch_recipes(module)) recipes.push_back(std::move(recipe));
  return Choices(plain_recipe(module), std::move(recipes));
}

class TorchModel : public Model {
 public:
  TorchModel(std::span<const std::uint8_t> bytes, int threads)
      : module_(std::make_shared<FreezableModule>(load_module(bytes), bytes.size())),
        choices_(choices_of(module_, threads)) {}

  Scores run(const float* batch, std::size_t images, TensorSize size, int threads, EngineChoice asked) override {
    return choices_.run(batch, images, size, threads, asked);
  }
  ModelDescription describe() const override { return choices_.describe(); }
  std::size_t memory() const override { return module_->memory() + choices_.memory(); }

 private:
  const std::shared_ptr<FreezableModule> module_;
  Choices choices_;
};

at::Tensor random_batch(TensorShape shape) {
  if (shape.height < 1 || shape.width < 1 || shape.height > kMaxEdge || shape.width > kMaxEdge ||
      std::int64_t{shape.height} * shape.width > kMaxArea) {
    throw Error(Fault::limit_exceeded,
                "a tensor of " + std::to_string(shape.height) + "x" + std::to_string(shape.width) + " is out of range");
  }
  std::int64_t sizes[] = {2, 3, shape.height, shape.width};
  return at::randn(sizes, at::kFloat);
}

InspectReply::Shape try_shape(torch::jit::Module& module, TensorShape shape) {
  try {
    c10::InferenceMode no_gradients;
    return {static_cast<std::uint32_t>(forward(module, random_batch(shape)).size(1)), {}};
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

class TorchEngine : public Engine {
 public:
  // LibTorch and oneDNN set themselves up at their first convolution.
  explicit TorchEngine(int threads) : threads_(threads) {
    c10::InferenceMode no_gradients;
    at::conv2d(at::zeros({1, 3, 16, 16}), at::zeros({8, 3, 3, 3}));
  }

  std::shared_ptr<Model> load(std::span<const std::uint8_t> bytes) override {
    return std::make_shared<TorchModel>(bytes, threads_);
  }

  InspectReply inspect(const InspectModel& request) override {
    torch::jit::Module module = load_module(request.bytes);
    InspectReply reply;
    reply.parameters = trainable_parameters(module);
    const TensorShape* accepted = nullptr;
    for (const TensorShape& shape : request.shapes) {
      reply.shapes.push_back(try_shape(module, shape));
      if (!accepted && reply.shapes.back().outputs > 0) accepted = &shape;
    }
    if (accepted) reply.learns_statistics = statistics_move(module, *accepted);
    return reply;
  }

  std::vector<EngineChoice> libraries() const override {
    std::vector<EngineChoice> libraries{EngineChoice::libtorch};
    if (kHasOpenVino) libraries.push_back(EngineChoice::openvino);
    return libraries;
  }

 private:
  const int threads_;
};

}  // namespace

std::unique_ptr<Engine> make_engine(int threads) { return std::make_unique<TorchEngine>(threads); }

}  // namespace imagecalc
