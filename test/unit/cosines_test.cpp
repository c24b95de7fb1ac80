// The DCT's constants, against the C library's.
#include "codec/cosines.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

namespace imagecalc {
namespace {

constexpr double kUlp = std::numeric_limits<double>::epsilon();

TEST(Cosines, OnceAround) {
  ASSERT_EQ(circle().size(), 1024u);
  for (std::size_t n = 0; n < circle().size(); ++n) {
    // Where the cosine is next to nothing, what the rounded argument makes of it is more than its own error.
    const long double want = std::cos(std::numbers::pi_v<long double> * n / 512);
    EXPECT_LE(std::abs(circle()[n] - want), 4 * kUlp * std::abs(want) + 1e-18L) << n;
  }
  EXPECT_EQ(circle()[0], 1);
  EXPECT_EQ(circle()[256], 0);
  EXPECT_EQ(circle()[512], -1);
  EXPECT_EQ(circle()[768], 0);
}

// The nearest floats, or their neighbours.
TEST(Cosines, OfEverySize) {
  constexpr double kFloatUlp = std::numeric_limits<float>::epsilon();
  for (int size = 4; size <= kMaxBlock; size *= 2) {
    for (int frequency = 0; frequency < size; ++frequency) {
      for (int place = 0; place < size; ++place) {
        const double want = std::cos((2 * place + 1) * frequency * std::numbers::pi / (2 * size));
        EXPECT_NEAR(cosines(size)[frequency * size + place], want, kFloatUlp * std::abs(want) + 1e-12);
      }
    }
    for (int place = 0; place < size / 2; ++place) {
      const double want = 0.5 / std::cos((2 * place + 1) * std::numbers::pi / (2 * size));
      EXPECT_NEAR(half_secants(size)[place], want, kFloatUlp * want);
    }
  }
}

}  // namespace
}  // namespace imagecalc
