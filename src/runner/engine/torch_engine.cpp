#include <cstring>
#include <utility>

#include <ATen/Parallel.h>
#include <omp.h>

#include "runner/engine/engine.h"
#include "runner/engine/torch_module.h"

namespace imagecalc {

namespace {

constexpr std::int64_t kMaxEdge = 65536;
constexpr std::int64_t kMaxArea = std::int64_t{8192} * 8192;

// Gives this thread its share of the cores: at::set_num_threads would change every thread's.
void use_threads(int threads) {
  at::get_num_threads();  // LibTorch sets the number itself when a thread first asks
  omp_set_num_threads(threads);
}

class TorchModel : public Model {
 public:
  explicit TorchModel(torch::jit::Module module) : module_(std::move(module)) {}

  Scores run(const float* batch, std::size_t images, TensorSize size, int threads) override {
    use_threads(threads);
    c10::InferenceMode no_gradients;
    std::int64_t shape[] = {static_cast<std::int64_t>(images), 3, size.height, size.width};
    at::Tensor scores = forward(module_, at::from_blob(const_cast<float*>(batch), shape, at::kFloat));
    scores = scores.to(at::kCPU, at::kFloat).contiguous();
    const float* begin = scores.data_ptr<float>();
    return {static_cast<std::uint32_t>(scores.size(1)), {begin, begin + scores.numel()}};
  }

 private:
  torch::jit::Module module_;
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
  TorchEngine() {
    c10::InferenceMode no_gradients;
    at::conv2d(at::zeros({1, 3, 16, 16}), at::zeros({8, 3, 3, 3}));
  }

  std::shared_ptr<Model> load(std::span<const std::uint8_t> bytes) override {
    return std::make_shared<TorchModel>(load_module(bytes));
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
};

}  // namespace

std::unique_ptr<Engine> make_torch_engine() { return std::make_unique<TorchEngine>(); }

}  // namespace imagecalc
