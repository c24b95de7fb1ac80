#include "format/format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "format/error.h"

namespace imagecalc {
namespace {

// What the parser says of a text that is no format.
std::string complaint(std::string_view text) {
  try {
    parse_format(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::bad_format) << text;
    EXPECT_NE(error.hint(), "") << text;
    return error.what();
  }
  return "accepted";
}

TEST(Format, ParsesTheExamples) {
  EXPECT_EQ(parse_format("1x1/b32/k6/q50@256"), (Format{Subsampling::none, 32, 6, 50, 256}));
  EXPECT_EQ(parse_format("2x2r/b16/k4/q20"), (Format{Subsampling::rows, 16, 4, 20, 0}));
  EXPECT_EQ(parse_format("2x2c/b8/k8/q1@8"), (Format{Subsampling::columns, 8, 8, 1, 8}));
  EXPECT_EQ(parse_format("4x4/b256/k256/q255@8184"), (Format{Subsampling::both, 256, 256, 255, 8184}));
}

TEST(Format, EveryFormatOfTheDesignSpaceComesBack) {
  for (int size : {0, 8, 64, 256, 8184}) {
    const auto formats = design_space(size);
    ASSERT_EQ(formats.size(), 6048u);
    std::set<std::uint32_t> packed;
    for (const Format& format : formats) {
      EXPECT_EQ(parse_format(to_string(format)), format);
      EXPECT_EQ(unpack(pack(format)), format);
      EXPECT_LT(pack(format), 1u << 31);
      packed.insert(pack(format));
    }
    EXPECT_EQ(packed.size(), formats.size());
  }
}

TEST(Format, DesignSpaceIsOrdered) {
  const auto formats = design_space(256);
  EXPECT_TRUE(std::is_sorted(formats.begin(), formats.end()));
  EXPECT_EQ(to_string(formats.front()), "1x1/b8/k1/q20@256");
  EXPECT_EQ(to_string(formats.back()), "4x4/b256/k256/q100@256");
}

TEST(Format, PackedBitsAreFixed) {
  EXPECT_EQ(pack(parse_format("1x1/b8/k1/q1")), 1u << 10);
  EXPECT_EQ(pack(parse_format("4x4/b256/k256/q255@8184")), 3u << 29 | 5u << 26 | 255u << 18 | 255u << 10 | 1023u);
  EXPECT_EQ(pack(parse_format("2x2c/b32/k6/q50@256")), 2u << 29 | 2u << 26 | 5u << 18 | 50u << 10 | 32u);
}

TEST(Format, ComplaintsNameThePart) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "subsampling"},
      {"x", "subsampling"},
      {"2x2/b8/k1/q1", "subsampling"},
      {"1X1/b8/k1/q1", "subsampling"},
      {" 1x1/b8/k1/q1", "subsampling"},
      {"1x1", "block"},
      {"1x1/", "block"},
      {"1x1/32/k6/q50", "block"},
      {"1x1/b/k6/q50", "block"},
      {"1x1/b+8/k6/q50", "block"},
      {"1x1/b08/k6/q50", "block"},
      {"1x1/b12/k6/q50", "block"},
      {"1x1/b512/k6/q50", "block"},
      {"1x1/b99999999999/k6/q50", "block"},
      {"1x1/b8", "coefficients"},
      {"1x1/b8/k0/q50", "coefficients"},
      {"1x1/b8/k9/q50", "coefficients"},
      {"1x1/b8/q50/k1", "coefficients"},
      {"1x1/b8/k-1/q50", "coefficients"},
      {"1x1/b8/k1", "quantization"},
      {"1x1/b8/k1/q0", "quantization"},
      {"1x1/b8/k1/q256", "quantization"},
      {"1x1/b8/k1/q5 ", "quantization"},
      {"1x1/b8/k1/q5/", "quantization"},
      {"1x1/b8/k1/q5@", "size"},
      {"1x1/b8/k1/q5@0", "size"},
      {"1x1/b8/k1/q5@12", "size"},
      {"1x1/b8/k1/q5@8192", "size"},
      {"1x1/b8/k1/q5@16x", "size"},
      {"1x1/b8/k1/q5@16@16", "size"},
  };
  for (auto [text, part] : cases) {
    EXPECT_NE(complaint(text).find(part), std::string::npos) << text << ": " << complaint(text);
  }
  EXPECT_LT(complaint(std::string(100'000, 'x')).size(), 200u);
}

TEST(Format, RefusesBadPackedForms) {
  const std::uint32_t good = pack(parse_format("1x1/b8/k8/q50@256"));
  auto fault = [](std::uint32_t packed) {
    try {
      unpack(packed);
    } catch (const Error& error) {
      return error.fault();
    }
    return Fault::internal;
  };
  EXPECT_EQ(fault(good | 1u << 31), Fault::bad_format);
  EXPECT_EQ(fault(good | 6u << 26), Fault::bad_format);  // reserved block codes
  EXPECT_EQ(fault(good | 7u << 26), Fault::bad_format);
  EXPECT_EQ(fault(good + (1u << 18)), Fault::bad_format);     // 9 coefficients of a block of 8
  EXPECT_EQ(fault(good & ~(255u << 10)), Fault::bad_format);  // quantizer 0
  EXPECT_EQ(fault(0xFFFFFFFF), Fault::bad_format);
}

TEST(Format, EveryPackedFormThatUnpacksPacksToItself) {
  for (std::uint64_t packed = 0; packed < 1ull << 32; packed += 9973) {
    try {
      EXPECT_EQ(pack(unpack(static_cast<std::uint32_t>(packed))), packed);
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::bad_format);
    }
  }
}

TEST(Format, Geometry) {
  Geometry g = geometry(parse_format("1x1/b32/k3/q50@256"), 256, 256);
  EXPECT_EQ(g.tensor_width, 24);
  EXPECT_EQ(g.tensor_height, 24);
  EXPECT_EQ(g.blocks(), 64);
  g = geometry(parse_format("2x2r/b16/k4/q20"), 61, 37);  // 61 across, 19 of 37 rows
  EXPECT_EQ(g.plane_width, 61);
  EXPECT_EQ(g.plane_height, 19);
  EXPECT_EQ(g.blocks_across, 4);
  EXPECT_EQ(g.blocks_down, 2);
  EXPECT_EQ(g.tensor_width, 16);
  EXPECT_EQ(g.tensor_height, 8);
  g = geometry(parse_format("2x2c/b8/k1/q20"), 61, 37);
  EXPECT_EQ(g.plane_width, 31);
  EXPECT_EQ(g.plane_height, 37);
  g = geometry(parse_format("4x4/b8/k8/q20"), 1, 65535);
  EXPECT_EQ(g.plane_width, 1);
  EXPECT_EQ(g.plane_height, 32768);
}

TEST(Format, TriangleOrder) {
  EXPECT_EQ(triangle(3), (std::vector<Frequency>{{0, 0}, {0, 1}, {1, 0}, {0, 2}, {1, 1}, {2, 0}}));
  const auto all = triangle(256);
  EXPECT_EQ(static_cast<std::int64_t>(all.size()), triangle_size(256));
  for (std::size_t n = 0; n < all.size(); ++n) ASSERT_EQ(triangle_index(all[n].i, all[n].j), n);
  for (int kept = 1; kept <= 256; ++kept) {
    const auto some = triangle(kept);
    ASSERT_TRUE(std::equal(some.begin(), some.end(), all.begin())) << kept;
  }
}

TEST(ModelInput, RoundTrip) {
  const ModelInput rgb = parse_model_input("rgb@256");
  EXPECT_TRUE(rgb.rgb);
  EXPECT_EQ(rgb.rgb_size, 256);
  EXPECT_EQ(to_string(rgb), "rgb@256");
  EXPECT_EQ(to_string(parse_model_input("1x1/b32/k6/q50@256")), "1x1/b32/k6/q50@256");
  for (const char* text : {"rgb", "rgb@", "rgb@0", "rgb@8185", "rgb@-1", "rgb@256 ", "RGB@256", ""}) {
    EXPECT_THROW(parse_model_input(text), Error) << text;
  }
}

}  // namespace
}  // namespace imagecalc
