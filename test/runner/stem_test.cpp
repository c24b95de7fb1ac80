#include "runner/engine/stem.h"

#include <gtest/gtest.h>

#include <sstream>

#include "models.h"
#include "runner/engine/torch_module.h"

namespace imagecalc {
namespace {

constexpr int kKernel = 4;

at::Tensor first_weight(const torch::jit::Module& module) { return *module.parameters().begin(); }

// Of all layers but the first.
std::size_t other_parameters(const torch::jit::Module& module) {
  return trainable_parameters(module) - std::size_t(first_weight(module).numel());
}

// Every block turned by half a turn.
at::Tensor turned_blocks(const at::Tensor& batch) {
  const auto sizes = batch.sizes();
  return batch.view({sizes[0], sizes[1], sizes[2] / kKernel, kKernel, sizes[3] / kKernel, kKernel}).flip({3, 5}).reshape(sizes);
}

torch::jit::Module saved_and_loaded(const torch::jit::Module& module) {
  std::ostringstream stream;
  module.save(stream);
  const std::string bytes = stream.str();
  return load_module({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

TEST(Stem, ReadsEachBlockAlone) {
  for (const char* form : {"script", "trace", "resnet18-script", "resnet18-trace", "mobilenet_v3_small-script",
                           "efficientnet_b3-trace", "shufflenet_v2_x1_0-script"}) {
    SCOPED_TRACE(form);
    torch::jit::Module module = load_module(test::exported_model(form));
    const std::size_t rest = other_parameters(module);
    const auto outputs = first_weight(module).size(0);
    set_stem(module, kKernel);
    EXPECT_EQ(first_weight(module).sizes(), (std::vector<std::int64_t>{outputs, 3, kKernel, kKernel}));
    EXPECT_TRUE(first_weight(module).requires_grad());
    EXPECT_EQ(other_parameters(module), rest) << "nothing else is another";

    // Only a kernel at that stride, without padding, does not notice when blocks and kernel are turned alike.
    at::NoGradGuard no_gradients;
    module.eval();
    const at::Tensor batch = at::randn({3, 3, 24, 24});
    const at::Tensor scores = forward(module, batch);
    EXPECT_FALSE(at::allclose(forward(module, turned_blocks(batch)), scores, 1e-3, 1e-4));
    first_weight(module).copy_(first_weight(module).flip({2, 3}));
    EXPECT_TRUE(at::allclose(forward(module, turned_blocks(batch)), scores, 1e-3, 1e-4));

    torch::jit::Module again = saved_and_loaded(module);
    EXPECT_TRUE(at::allclose(forward(again, batch), forward(module, batch)));
  }
}

TEST(Stem, StaysWhereItIsThereAlready) {
  torch::jit::Module module = load_module(test::exported_model("resnet18-script"));
  set_stem(module, kKernel);
  const at::Tensor weight = first_weight(module).clone();
  torch::jit::Module again = saved_and_loaded(module);
  set_stem(again, kKernel);
  EXPECT_TRUE(first_weight(again).equal(weight));
}

TEST(Stem, OfAnotherSizeKeepsTheTapsThatBothHave) {
  torch::jit::Module module = load_module(test::exported_model("script"));
  at::manual_seed(1);
  set_stem(module, kKernel);
  const at::Tensor weight = first_weight(module).clone();
  const auto corner = [](const at::Tensor& taps, int size) { return taps.narrow(2, 0, size).narrow(3, 0, size); };
  torch::jit::Module smaller = saved_and_loaded(module), larger = saved_and_loaded(module);
  set_stem(smaller, 2);
  EXPECT_TRUE(first_weight(smaller).equal(corner(weight, 2)));
  set_stem(larger, 7);
  EXPECT_EQ(first_weight(larger).size(3), 7);
  EXPECT_TRUE(corner(first_weight(larger), kKernel).equal(weight));
  EXPECT_GT(first_weight(larger).narrow(3, kKernel, 3).abs().mean().item<double>(), 0.01) << "the others are drawn";
  at::NoGradGuard no_gradients;
  larger.eval();
  EXPECT_EQ(forward(larger, at::randn({2, 3, 21, 28})).size(0), 2);
}

// A network whose first layer has a kernel of 3x3. call: what is done with it, as in "self.first.forward(x)".
torch::jit::Module network(const std::string& call, const std::string& padding = "[1, 1]", bool tied = false) {
  torch::jit::Module first("first_layer"), whole("network");
  const at::Tensor weight = at::randn({3, 3, 3, 3}).set_requires_grad(true);
  first.register_parameter("weight", weight, false);
  first.define("def forward(self, x):\n    return torch.conv2d(x, self.weight, None, [1, 1], " + padding + ")\n");
  whole.register_module("first", first);
  if (tied) whole.register_parameter("other", weight, false);
  whole.define("def forward(self, x):\n    return (" + call + ").mean([2, 3])\n");
  return whole;
}

TEST(Stem, IsRefusedWhereNoConvolutionCanBeReplaced) {
  const std::string header = "def forward(self, x):\n";
  const char* const elsewhere = "it does not read the model's input as it is";
  const std::pair<torch::jit::Module, const char*> cases[] = {
      {load_module(test::tiny_model()), "it has none"},
      {load_module(test::exported_model("frozen")), "its weights are computed, or frozen into the code"},
      {load_module(test::scripted_model(header + "    return torch.conv2d(x, self.weight.view(4, 3, 1, 1)).mean([2, 3])\n")),
       "its weights are computed, or frozen into the code"},
      {load_module(test::scripted_model(header + "    return torch.conv2d(x, self.weight).mean([2, 3])\n")), "it does not read 3 channels"},
      {network("self.first.forward(torch.avg_pool2d(x, [2, 2]))"), elsewhere},
      {network("self.first.forward(torch.reflection_pad2d(x, [1, 1, 1, 1]))", "[0, 0]"), elsewhere},
      {network("self.first.forward(x)", "'same'"), "its stride is computed, or its padding a word"},
      {network("self.first.forward(torch.relu(self.first.forward(x)))"), "its weights are used twice"},
      {network("self.first.forward(x)", "[1, 1]", true), "its weights are used twice"}};
  for (const auto& [given, why] : cases) {
    torch::jit::Module module = given;
    try {
      set_stem(module, kKernel);
      ADD_FAILURE() << why;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::bad_model);
      EXPECT_EQ(std::string(error.what()), std::string("the model's first convolution cannot be replaced by a stem: ") + why);
    }
  }
  torch::jit::Module fine = network("self.first.forward(x)");
  EXPECT_NO_THROW(set_stem(fine, kKernel));
}

}  // namespace
}  // namespace imagecalc
