// The engine without Postgres: a model called in a loop on tensors that are there already, as the runner would call it.
//
//   imagecalc-bench-loop MODEL.pt THREADS [auto|libtorch|openvino]
//
// Reads lines "EDGE BATCH SECONDS" and answers each, once the engine has settled for a plan, with a line
// "IMAGES SECONDS ENGINE PLAN".
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "runner/engine/engine.h"

namespace {

using namespace imagecalc;
using Clock = std::chrono::steady_clock;

// No plan takes that many calls to be found.
constexpr int kMostCalls = 200;

struct Job {
  int edge = 0;
  std::size_t batch = 0;
  double seconds = 0;
};

std::istream& operator>>(std::istream& in, Job& job) {
  return in >> job.edge >> job.batch >> job.seconds;
}

Blob read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(std::string("could not read ") + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<float> draw_images(const Job& job) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> images(job.batch * 3 * job.edge * job.edge);
  for (float& sample : images) sample = normal(random);
  return images;
}

// The choice for the last size is the first of the list.
ChoiceReport settle(Model& model, const std::vector<float>& images, const Job& job, int threads, EngineChoice asked) {
  for (int call = 0; call < kMostCalls; ++call) {
    model.run({images.data(), job.batch}, {job.edge, job.edge}, threads, asked);
    ChoiceReport report = model.describe().choices.at(0);
    if (report.settled) return report;
  }
  throw std::runtime_error("the engine does not settle for a plan");
}

void run_job(Model& model, const Job& job, int threads, EngineChoice asked) {
  const std::vector<float> images = draw_images(job);
  const ChoiceReport report = settle(model, images, job, threads, asked);
  const auto start = Clock::now();
  std::size_t count = 0;
  double elapsed = 0;
  do {
    model.run({images.data(), job.batch}, {job.edge, job.edge}, threads, asked);
    count += job.batch;
    elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  } while (elapsed < job.seconds);
  std::printf("%zu %.6f %s %s\n", count, elapsed, std::string(to_string(report.chosen.engine)).c_str(),
              report.chosen.plan.c_str());
  std::fflush(stdout);
}

void run_jobs(const char* path, int threads, EngineChoice asked) {
  const auto engine = make_engine(threads);
  const auto model = engine->load(read_file(path));
  for (Job job; std::cin >> job;) {
    if (job.edge < 1 || job.batch < 1) throw std::runtime_error("edges and batches start at 1");
    run_job(*model, job, threads, asked);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 2 ? std::atoi(argv[2]) : 0;
  if (threads < 1 || argc > 4) {
    std::fputs("usage: imagecalc-bench-loop MODEL.pt THREADS [auto|libtorch|openvino]\n", stderr);
    return 2;
  }
  int status = 0;
  try {
    run_jobs(argv[1], threads, parse_engine(argc > 3 ? argv[3] : "auto"));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    status = 1;
  }
  std::fflush(nullptr);
  ::_exit(status);  // LibTorch's static destructors crash
}
