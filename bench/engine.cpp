// What each plan for a model costs, in microseconds an image, as Markdown.
//
//   imagecalc-bench-engine EDGE MODEL.pt...       one thread; EDGE: rows and columns of the tensor
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

#include "runner/engine/openvino_plan.h"
#include "runner/engine/torch_plans.h"
#include "runner/engine/trial.h"

namespace {

using namespace imagecalc;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kBatches[] = {1, 32, 128};
constexpr int kRounds = 3;
constexpr float kNoLimit = std::numeric_limits<float>::max();

Blob read_model(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(std::string("could not read ") + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<Recipe> recipes_of(const char* path) {
  auto module = std::make_shared<FreezableModule>(load_module(read_model(path)));
  std::vector<Recipe> recipes{plain_recipe(module)};
  for (Recipe& recipe : openvino_recipes(module, 1)) recipes.push_back(std::move(recipe));
  for (Recipe& recipe : torch_recipes(module)) recipes.push_back(std::move(recipe));
  return recipes;
}

float time_rounds(const Trial& trial, Plan& plan) {
  float best = kNoLimit;
  for (int round = 0; round < kRounds; ++round) best = std::min(best, trial.time(plan, best));
  return best;
}

// One cell: what it costs, or a dash; what making the first plan cost and why one was refused comes after the row.
void print_cell(const Recipe& recipe, const Trial& trial, TensorSize size, std::size_t batch, std::string& remark) try {
  auto start = Clock::now();
  auto plan = recipe.make(size, batch);
  auto made = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  std::string refusal = trial.check(*plan);
  if (batch == kBatches[0]) remark = std::to_string(std::lround(made));
  if (!refusal.empty()) throw std::runtime_error(refusal);
  std::printf(" %.0f |", static_cast<double>(time_rounds(trial, *plan)));
} catch (const std::exception& error) {
  std::printf(" - |");
  remark = error.what();
}

void print_model(const char* path, TensorSize size) {
  std::vector<Recipe> recipes = recipes_of(path);
  auto plain = recipes.front().make(size, 1);
  std::vector<Trial> trials;
  for (std::size_t batch : kBatches) trials.emplace_back(*plain, size, batch, 1, kNoLimit);
  for (const Recipe& recipe : recipes) {
    std::string remark;
    std::printf("| %s | %s |", std::filesystem::path(path).stem().c_str(), recipe.name.c_str());
    for (std::size_t i = 0; i < trials.size(); ++i) print_cell(recipe, trials[i], size, kBatches[i], remark);
    std::printf(" %s |\n", remark.c_str());
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  int edge = argc > 2 ? std::atoi(argv[1]) : 0;
  if (edge < 1) {
    std::fputs("usage: imagecalc-bench-engine EDGE MODEL.pt...\n", stderr);
    return 2;
  }
  int status = 0;
  try {
    std::printf("us an image at %dx%d, one thread\n\n", edge, edge);
    std::printf("| model | plan | batch 1 | batch 32 | batch 128 | ms to make, or why not |\n");
    std::printf("|---|---|---:|---:|---:|---|\n");
    for (int i = 2; i < argc; ++i) print_model(argv[i], {edge, edge});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    status = 1;
  }
  std::fflush(nullptr);
  ::_exit(status);  // LibTorch's static destructors crash
}
