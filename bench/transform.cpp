// How long the transform of one 256x256 RGB picture takes, from samples to quantized coefficients, by block and by how many
// frequencies are kept: with matrix products only, with fast transforms only, and as the codec chooses. One thread; the
// minimum of many runs.
#include <chrono>
#include <cstdio>
#include <limits>
#include <random>

#include "codec/cpu.h"
#include "codec/transform.h"

namespace {

using namespace imagecalc;

constexpr int kSize = 256;
constexpr auto kTimeEach = std::chrono::milliseconds(100);

Picture noise() {
  std::mt19937 random(1);
  Picture picture{kSize, kSize, 3, std::vector<std::uint8_t>(3 * kSize * kSize)};
  for (auto& sample : picture.samples) sample = static_cast<std::uint8_t>(random());
  return picture;
}

double microseconds(const Picture& picture, int block, int kept, DctMethod method) {
  using Clock = std::chrono::steady_clock;
  const Box whole{0, 0, picture.width, picture.height};
  std::vector<std::int32_t> values;
  double best = std::numeric_limits<double>::max();
  for (const auto end = Clock::now() + kTimeEach; Clock::now() < end;) {
    const auto begin = Clock::now();
    const auto coefficients = transform(picture, whole, Subsampling::none, block, kept, Interrupt{}, method);
    values.resize(coefficients.size());
    quantize(coefficients.data(), coefficients.size(), 50, values.data());
    best = std::min(best, std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
  }
  return best;
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1) force_cpu_path(arguments[1]);
  const Picture picture = noise();
  std::printf("%5s %5s %9s %9s %9s   us, CPU path %s\n", "block", "kept", "pruned", "full", "chosen",
              count > 1 ? arguments[1] : cpu_paths().front().c_str());
  for (const int block : kBlocks) {
    for (const int kept : {1, 2, 3, 4, 6, 8, 16, 32, 64, 128, 256}) {
      if (kept > block) break;
      std::printf("%5d %5d", block, kept);
      for (const DctMethod method : {DctMethod::pruned, DctMethod::full, DctMethod::chosen}) {
        std::printf(" %9.1f", microseconds(picture, block, kept, method));
      }
      std::printf("\n");
    }
  }
}
