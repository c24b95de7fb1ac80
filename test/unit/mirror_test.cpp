#include "codec/mirror.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

#include "pictures.h"

namespace imagecalc {
namespace {

// But for what lies on the border between two quantized values, which the order of additions may decide.
TEST(Mirror, IsThatOfThePixels) {
  for (int channels : {1, 3}) {
    const Picture picture = test::drawn_picture(128, 96, channels, 5);
    const Picture other_way = test::mirrored_pixels(picture);
    const std::vector<Format> formats = design_space(128);
    for (std::size_t n = 0; n < formats.size(); n += 13) {  // of all shapes and quantizers some
      Format own_size = formats[n];
      own_size.size = 0;
      if (!mirrors_exactly(own_size, picture.width)) continue;
      const Coefficients expected = encode(other_way, own_size, {}), found = mirrored(encode(picture, own_size, {}));
      ASSERT_EQ(found.values.size(), expected.values.size());
      std::size_t differ = 0;
      for (std::size_t i = 0; i < found.values.size(); ++i) {
        ASSERT_LE(std::abs(found.values[i] - expected.values[i]), 1) << to_string(own_size) << " at " << i;
        differ += found.values[i] != expected.values[i];
      }
      EXPECT_LE(differ, found.values.size() / 200 + 1) << to_string(own_size);
    }
  }
}

TEST(Mirror, TwiceIsNothing) {
  const Coefficients coefficients = encode(test::drawn_picture(64, 48, 3, 6), parse_format("2x2r/b16/k7/q5"), {});
  EXPECT_NE(mirrored(coefficients).values, coefficients.values);
  EXPECT_EQ(mirrored(mirrored(coefficients)).values, coefficients.values);
}

TEST(Mirror, NeedsWholeBlocks) {
  const Format plain = parse_format("1x1/b16/k4/q10");
  EXPECT_TRUE(mirrors_exactly(plain, 48));
  EXPECT_FALSE(mirrors_exactly(plain, 40));
  EXPECT_TRUE(mirrors_exactly(parse_format("2x2r/b16/k4/q10"), 48));
  EXPECT_FALSE(mirrors_exactly(parse_format("2x2c/b16/k4/q10"), 64)) << "it keeps other columns of the mirrored picture";
  EXPECT_FALSE(mirrors_exactly(parse_format("4x4/b16/k4/q10"), 64));
  const Coefficients padded = encode(test::drawn_picture(40, 40, 3, 7), plain, {});
  try {
    mirrored(padded);
    FAIL() << "its padding is on the right";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::invalid_argument);
  }
}

}  // namespace
}  // namespace imagecalc
