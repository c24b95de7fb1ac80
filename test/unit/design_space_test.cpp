// Every format of the design space against the reference in double precision, from picture to tensor.
#include <gtest/gtest.h>

#include <random>

#include "codec/tensor.h"
#include "codec/transform.h"
#include "codec/value.h"
#include "pictures.h"
#include "reference.h"

namespace imagecalc {
namespace {

using test::Matrix;

constexpr Subsampling kSubsamplings[] = {Subsampling::none, Subsampling::rows, Subsampling::columns, Subsampling::both};

// A quotient so near to a half may be rounded either way: sums of up to 256 x 256 samples are not exact in float.
constexpr double kTie = 1e-3;

// The tests of a sanitized build take too long for every kept.
#if defined(__SANITIZE_ADDRESS__)
constexpr int kKeptStep = 37;
constexpr int kRandomPictures = 15;
#else
constexpr int kKeptStep = 1;
constexpr int kRandomPictures = 60;
#endif

struct Comparison {
  std::size_t compared = 0, ties = 0, wrong = 0;
};

// The exact coefficients of one channel, quantized: [frequency][block], against values.
void compare_channel(const Matrix& exact, const Format& format, const Geometry& shape, const std::int32_t* values,
                     Comparison& comparison) {
  for (const Frequency& frequency : triangle(format.kept)) {
    for (int down = 0; down < shape.blocks_down; ++down) {
      for (int across = 0; across < shape.blocks_across; ++across, ++values, ++comparison.compared) {
        const double quotient =
            exact.at(down * format.block + frequency.i, across * format.block + frequency.j) / format.quantizer;
        if (*values == std::nearbyint(quotient)) continue;
        const bool tie = std::abs(std::abs(quotient - std::floor(quotient)) - 0.5) < kTie;
        ++(tie && std::abs(*values - quotient) < 0.5 + kTie ? comparison.ties : comparison.wrong);
      }
    }
  }
}

// A tensor holds each value times the quantizer in place, and 0 elsewhere.
void expect_tensor(const Coefficients& coefficients) {
  const Geometry shape = coefficients.geometry();
  const int kept = coefficients.format.kept;
  std::vector<float> tensor(3 * static_cast<std::size_t>(shape.tensor_area()), -1.0f), expected(tensor.size());
  place(coefficients, tensor.data());
  auto value = coefficients.values.begin();
  for (int c = 0; c < coefficients.channels; ++c) {
    for (const Frequency& frequency : triangle(kept)) {
      for (std::int64_t n = 0; n < shape.blocks(); ++n, ++value) {
        const std::int64_t y = n / shape.blocks_across * kept + frequency.i;
        const std::int64_t x = n % shape.blocks_across * kept + frequency.j;
        expected[c * shape.tensor_area() + y * shape.tensor_width + x] =
            static_cast<float>(*value * coefficients.format.quantizer);
      }
    }
  }
  EXPECT_EQ(tensor, expected) << to_string(coefficients.format);
}

Coefficients through_storage(const Coefficients& coefficients) {
  const Coefficients read = read_value(write_value(coefficients, kDefaultCompressionLevel), Limits{});
  EXPECT_EQ(read.values, coefficients.values) << to_string(coefficients.format);
  return read;
}

// All formats of one subsampling and block. size: 0 for the picture's own.
Comparison sweep(const Picture& picture, int size, Subsampling subsampling, int block, int kept_step) {
  const int width = size > 0 ? size : picture.width, height = size > 0 ? size : picture.height;
  std::vector<Matrix> exact;
  for (const Matrix& plane : test::reference_planes(picture, width, height)) {
    exact.push_back(test::reference_dct(test::reference_blocks(plane, subsampling, block), block));
  }
  Comparison comparison;
  for (int kept = 1; kept <= block; kept = kept == block ? block + 1 : std::min(kept + kept_step, block)) {
    for (const int quantizer : kSearchedQuantizers) {
      const Format format{subsampling, block, kept, quantizer, size};
      const Coefficients coefficients = encode(picture, format, Interrupt{});
      const Geometry shape = geometry(format, width, height);
      const std::size_t channel = static_cast<std::size_t>(triangle_size(kept) * shape.blocks());
      EXPECT_EQ(coefficients.values.size(), channel * exact.size());
      for (std::size_t c = 0; c < exact.size(); ++c) {
        compare_channel(exact[c], format, shape, coefficients.values.data() + c * channel, comparison);
      }
      expect_tensor(through_storage(coefficients));
    }
  }
  return comparison;
}

void expect_exact(const Comparison& comparison) {
  EXPECT_EQ(comparison.wrong, 0u) << "of " << comparison.compared;
  EXPECT_LE(comparison.ties, comparison.compared / 1000 + 3);
  testing::Test::RecordProperty("compared", std::to_string(comparison.compared));
  testing::Test::RecordProperty("ties", std::to_string(comparison.ties));
}

class DesignSpace : public testing::TestWithParam<std::tuple<Subsampling, int>> {};

TEST_P(DesignSpace, ScaledColour) {
  const auto [subsampling, block] = GetParam();
  expect_exact(sweep(test::photograph(), 64, subsampling, block, kKeptStep));
}

TEST_P(DesignSpace, ColourOfAnySize) {
  const auto [subsampling, block] = GetParam();
  std::mt19937 random(static_cast<unsigned>(block) * 4 + static_cast<unsigned>(subsampling));
  const int width = 1 + static_cast<int>(random() % 100), height = 1 + static_cast<int>(random() % 100);
  const Picture picture = test::crop(test::photograph(), Box{9, 20, width, height});
  expect_exact(sweep(picture, 0, subsampling, block, kKeptStep));
}

TEST_P(DesignSpace, OddGray) {
  const auto [subsampling, block] = GetParam();
  const Picture picture = test::to_gray(test::crop(test::photograph(), Box{20, 30, 61, 37}));
  expect_exact(sweep(picture, 0, subsampling, block, 7 * kKeptStep));
}

TEST_P(DesignSpace, ColourAt256) {
  const auto [subsampling, block] = GetParam();
  expect_exact(sweep(test::photograph(), 256, subsampling, block, 23 * kKeptStep));
}

std::string design_space_name(const testing::TestParamInfo<DesignSpace::ParamType>& parameters) {
  const auto [subsampling, block] = parameters.param;
  const std::string text = to_string(Format{subsampling, block, 1, 1, 0});
  return text.substr(0, text.find('/')) + "_b" + std::to_string(block);
}

INSTANTIATE_TEST_SUITE_P(All, DesignSpace, testing::Combine(testing::ValuesIn(kSubsamplings), testing::ValuesIn(kBlocks)),
                         design_space_name);

// A few coefficients of pictures of any size and format, straight from the definition.
TEST(AnySize, CoefficientsAreThoseOfTheDefinition) {
  std::mt19937 random(7);
  const auto up_to = [&](int last) { return 1 + static_cast<int>(random() % static_cast<unsigned>(last)); };
  for (int n = 0; n < kRandomPictures; ++n) {
    const Picture picture = test::drawn_picture(up_to(700), up_to(700), random() % 3 ? 3 : 1, random());
    const int block = kBlocks[random() % kBlocks.size()], kept = up_to(block);
    const Subsampling subsampling = kSubsamplings[random() % 4];
    const Format format{subsampling, block, kept, up_to(60), 0};
    const Coefficients coefficients = encode(picture, format, Interrupt{});
    const Geometry shape = coefficients.geometry();
    const auto planes = test::reference_planes(picture, picture.width, picture.height);
    const int c = static_cast<int>(random() % planes.size());
    const Matrix blocks = test::reference_blocks(planes[c], subsampling, block);
    for (int sample = 0; sample < 4; ++sample) {
      const int i = up_to(kept) - 1, j = up_to(kept - i) - 1;
      const int down = up_to(shape.blocks_down) - 1, across = up_to(shape.blocks_across) - 1;
      const std::int64_t frequency = c * triangle_size(kept) + static_cast<std::int64_t>(triangle_index(i, j));
      const std::int64_t place = frequency * shape.blocks() + down * shape.blocks_across + across;
      const double exact = test::reference_coefficient(blocks, block, down * block, across * block, i, j) / format.quantizer;
      EXPECT_NEAR(coefficients.values[place], exact, 0.5 + 0.02 / format.quantizer) << to_string(format);
    }
  }
}

// A picture that is a column plus a row has no coefficients outside the triangle of a whole block: at q1 it comes back but
// for the rounding of coefficients and samples.
TEST(AnySize, RebuildGivesTheWholeBack) {
  std::mt19937 random(8);
  for (int n = 0; n < kRandomPictures; ++n) {
    const int width = 1 + static_cast<int>(random() % 700), height = 1 + static_cast<int>(random() % 700);
    Picture picture{width, height, random() % 2 ? 3 : 1, {}};
    std::vector<int> row(std::size_t(width) * picture.channels), column(height);
    for (int& value : row) value = static_cast<int>(random() % 128);
    for (int& value : column) value = static_cast<int>(random() % 128);
    for (int y = 0; y < height; ++y) {
      for (const int value : row) picture.samples.push_back(static_cast<std::uint8_t>(column[y] + value));
    }
    const int block = kBlocks[random() % kBlocks.size()];
    const Picture rebuilt = rebuild(encode(picture, {Subsampling::none, block, block, 1, 0}, Interrupt{}), Interrupt{});
    ASSERT_EQ(rebuilt.samples.size(), picture.samples.size());
    double squares = 0;
    for (std::size_t s = 0; s < picture.samples.size(); ++s) {
      const int error = rebuilt.samples[s] - picture.samples[s];
      squares += error * error;
      ASSERT_LE(std::abs(error), 4) << width << "x" << height << " b" << block;
    }
    EXPECT_LT(std::sqrt(squares / static_cast<double>(picture.samples.size())), 0.8);
  }
}

}  // namespace
}  // namespace imagecalc
