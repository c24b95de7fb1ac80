// Placement: each coefficient where the tensor's definition says, in float and in integers, on every CPU path.
#include "codec/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "codec/cpu.h"
#include "pictures.h"

namespace imagecalc {
namespace {

constexpr Normalisation kNormalisation{{3.5f, -2.25f, 0.1f}, {40.0f, 7.0f, 3.0f}};

struct Shape {
  const char* format;
  int channels, width, height;
};

// One block and many, fewer and more than eight a row, rows that fill no vector, many diagonals, subsampled, gray.
constexpr Shape kShapes[] = {
    {"1x1/b256/k16/q50", 3, 256, 256}, {"1x1/b32/k3/q50", 3, 256, 256}, {"1x1/b128/k17/q20", 3, 256, 256},
    {"1x1/b16/k8/q50", 3, 256, 256},   {"1x1/b8/k1/q100", 3, 100, 30},  {"2x2r/b8/k5/q7", 3, 75, 131},
    {"2x2c/b16/k16/q20", 1, 300, 40},  {"4x4/b32/k11/q50", 3, 600, 70}, {"1x1/b8/k8/q1", 3, 65, 9},
    {"1x1/b64/k64/q20", 1, 64, 64},    {"1x1/b8/k3/q50", 3, 1, 1},      {"1x1/b32/k25/q9", 3, 288, 33},
    {"1x1/b256/k200/q20", 3, 300, 200}};

// Mostly small, some large; `zeros`: the share of diagonals that have nothing but zeros.
Coefficients draw(const Shape& shape, double zeros, unsigned seed) {
  Coefficients result;
  result.format = parse_format(shape.format);
  result.channels = shape.channels;
  result.coded_width = shape.width;
  result.coded_height = shape.height;
  result.source_width = static_cast<std::uint32_t>(shape.width);
  result.source_height = static_cast<std::uint32_t>(shape.height);
  std::mt19937 random(seed);
  for (int c = 0; c < shape.channels; ++c) {
    for (const Frequency& frequency : triangle(result.format.kept)) {
      for (std::int64_t block = 0; block < result.geometry().blocks(); ++block) {
        const bool is_zero = frequency.i + frequency.j >= result.format.kept * (1 - zeros);
        const int large = random() % 40 == 0 ? static_cast<int>(random() % 4000) : 0;
        result.values.push_back(is_zero ? 0 : static_cast<int>(random() % 9) - 4 + large);
      }
    }
  }
  return result;
}

StoredImage stored(const Coefficients& coefficients) { return read_image(write_value(coefficients, 3), Limits{}); }

// The tensor's definition: value of coefficient (i, j) of block (down, across), or nothing outside the triangle.
template <typename Out, typename Convert>
std::vector<Out> expected(const Coefficients& coefficients, Convert convert) {
  const Geometry geometry = coefficients.geometry();
  const int kept = coefficients.format.kept;
  const std::size_t channel = static_cast<std::size_t>(triangle_size(kept) * geometry.blocks());
  std::vector<Out> tensor;
  for (int c = 0; c < 3; ++c) {
    for (int y = 0; y < geometry.tensor_height; ++y) {
      for (int x = 0; x < geometry.tensor_width; ++x) {
        const int i = y % kept, j = x % kept;
        const std::size_t block = std::size_t(y / kept) * geometry.blocks_across + x / kept;
        const std::size_t place = c * channel + triangle_index(i, j) * static_cast<std::size_t>(geometry.blocks()) + block;
        const std::int32_t value = i + j < kept && c < coefficients.channels ? coefficients.values[place] : 0;
        tensor.push_back(i + j < kept ? convert(value, c) : Out{0});
      }
    }
  }
  return tensor;
}

std::size_t tensor_count(const Coefficients& coefficients) {
  return 3 * static_cast<std::size_t>(coefficients.geometry().tensor_area());
}

class TensorPlacement : public testing::Test {
 protected:
  void TearDown() override { force_cpu_path(""); }
};

TEST_F(TensorPlacement, IsAsDefinedOnEveryCpuPath) {
  unsigned seed = 0;
  for (const Shape& shape : kShapes) {
    for (const double zeros : {0.0, 0.5, 1.0}) {
      SCOPED_TRACE(shape.format);
      const Coefficients coefficients = draw(shape, zeros, ++seed);
      const StoredImage image = stored(coefficients);
      const float q = static_cast<float>(coefficients.format.quantizer);
      const auto plain =
          expected<float>(coefficients, [&](std::int32_t value, int) { return static_cast<float>(value) * q; });
      const auto normal = expected<float>(coefficients, [&](std::int32_t value, int c) {
        const float factor = q / kNormalisation.deviation[c], shift = -kNormalisation.mean[c] / kNormalisation.deviation[c];
        return static_cast<float>(value) * factor + shift;
      });
      for (const std::string& path : cpu_paths()) {
        force_cpu_path(path);
        std::vector<float> tensor(tensor_count(coefficients), -1.0f);
        place(image, tensor.data());
        EXPECT_EQ(tensor, plain) << path;
        place_normalised(image, kNormalisation, tensor.data());
        EXPECT_EQ(tensor, normal) << path;
        std::fill(tensor.begin(), tensor.end(), -1.0f);
        place_normalised(coefficients, kNormalisation, tensor.data());
        EXPECT_EQ(tensor, normal) << path;
      }
    }
  }
}

template <typename Integer>
void expect_scaled(const Coefficients& coefficients, const Scales& scales) {
  const float q = static_cast<float>(coefficients.format.quantizer);
  const auto all = expected<Integer>(coefficients, [&](std::int32_t value, int c) {
    const float scaled = std::nearbyint(static_cast<float>(value) * (q / scales[c]));
    return static_cast<Integer>(
        std::clamp<float>(scaled, std::numeric_limits<Integer>::min(), std::numeric_limits<Integer>::max()));
  });
  for (const std::string& path : cpu_paths()) {
    force_cpu_path(path);
    std::vector<Integer> tensor(tensor_count(coefficients), 77);
    place_scaled(stored(coefficients), scales, tensor.data());
    EXPECT_EQ(tensor, all) << path;
  }
}

TEST_F(TensorPlacement, IntegersAreScaledRoundedAndSaturated) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(shape.format);
    const Coefficients coefficients = draw(shape, 0.2, 3);
    const float q = static_cast<float>(coefficients.format.quantizer);
    for (const Scales& scales : {Scales{q, q, q}, Scales{2 * q, 4.5f, 0.3f}}) {
      expect_scaled<std::int8_t>(coefficients, scales);
      expect_scaled<std::int16_t>(coefficients, scales);
    }
  }
  std::vector<std::int8_t> tensor(3 * 64);
  const StoredImage image = stored(draw({"1x1/b8/k8/q1", 3, 8, 8}, 0, 1));
  for (const float scale : {0.0f, -1.0f, std::nanf("")}) {
    EXPECT_EQ(test::fault_of([&] { place_scaled(image, {1, scale, 1}, tensor.data()); }), Fault::invalid_argument);
  }
}

TEST_F(TensorPlacement, BatchesAreImagesOneAfterTheOther) {
  std::vector<std::vector<std::uint8_t>> values;
  for (unsigned seed = 1; seed <= 5; ++seed) values.push_back(write_value(draw(kShapes[3], 0.3, seed), 3));
  const std::vector<Bytes> batch(values.begin(), values.end());
  const std::size_t one = tensor_count(draw(kShapes[3], 0, 1));
  std::vector<float> all(one * values.size()), single(one);
  read_batch(batch, Limits{}, kNormalisation, all.data());
  for (std::size_t n = 0; n < values.size(); ++n) {
    place_normalised(read_image(values[n], Limits{}), kNormalisation, single.data());
    EXPECT_TRUE(std::equal(single.begin(), single.end(), all.begin() + static_cast<std::ptrdiff_t>(n * one))) << n;
  }
  EXPECT_EQ(test::fault_of([&] { read_batch(batch, Limits{}, kNormalisation, all.data(), test::Stop{}); }),
            Fault::cancelled);
  read_batch({}, Limits{}, kNormalisation, nullptr);
  values.push_back(write_value(draw(kShapes[1], 0.3, 1), 3));
  const std::vector<Bytes> mixed(values.begin(), values.end());
  all.resize(one * values.size());
  EXPECT_EQ(test::fault_of([&] { read_batch(mixed, Limits{}, kNormalisation, all.data()); }), Fault::wrong_format);
}

}  // namespace
}  // namespace imagecalc
