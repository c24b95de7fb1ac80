#include <utility>

#include "runner/engine/choose.h"
#include "runner/engine/engine.h"
#include "runner/engine/onnx_file.h"
#include "runner/engine/openvino_plan.h"
#include "runner/engine/stem.h"
#include "runner/engine/torch_plans.h"

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

class PlannedModel : public Model {
 public:
  PlannedModel(std::span<const std::uint8_t> bytes, int threads)
      : module_(is_onnx(bytes) ? nullptr : std::make_shared<FreezableModule>(load_module(bytes), bytes.size())),
        file_bytes_(bytes.size()),
        choices_(module_ ? choices_of(module_, threads) : Choices(onnx_recipe(bytes, threads), {})) {}

  Scores run(const float* batch, std::size_t images, TensorSize size, int threads, Wish asked) override {
    return choices_.run(batch, images, size, threads, asked);
  }
  ModelDescription describe() const override { return choices_.describe(); }
  std::size_t memory() const override { return (module_ ? module_->memory() : file_bytes_) + choices_.memory(); }

 private:
  const std::shared_ptr<FreezableModule> module_;  // null for ONNX
  const std::size_t file_bytes_;
  Choices choices_;
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
  explicit TorchEngine(int threads) : threads_(threads) {
    c10::InferenceMode no_gradients;
    at::conv2d(at::zeros({1, 3, 16, 16}), at::zeros({8, 3, 3, 3}));
  }

  std::shared_ptr<Model> load(std::span<const std::uint8_t> bytes) override {
    return std::make_shared<PlannedModel>(bytes, threads_);
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
      return recipe.make(size, kInspectedImages)->run(batch.data_ptr<float>(), kInspectedImages, threads_).outputs;
    };
    for (const TensorShape& shape : request.shapes) reply.shapes.push_back(try_shape(shape, outputs_of));
    return reply;
  }

  const int threads_;
};

}  // namespace

std::unique_ptr<Engine> make_engine(int threads) {
  // Activations that all but vanish, as behind a SiLU, would make the arithmetic up to a third slower. Threads have it from
  // the one that begins them.
  at::globalContext().setFlushDenormal(true);
  return std::make_unique<TorchEngine>(threads);
}

}  // namespace imagecalc
