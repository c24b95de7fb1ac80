// Coder 1: round trips at the borders of its alphabet, its contexts and its numbers of lanes; effort; the same bytes on
// every CPU path.
#include "codec/rans.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "codec/cpu.h"
#include "codec/rans_tables.h"
#include "codec/value.h"
#include "pictures.h"

namespace imagecalc::rans {
namespace {

constexpr std::int32_t kMin = std::numeric_limits<std::int32_t>::min(), kMax = std::numeric_limits<std::int32_t>::max();

using Payload = std::vector<std::uint8_t>;

Payload encoded(const std::vector<std::int32_t>& values, const Layout& layout, Effort effort = Effort::fast) {
  Payload payload;
  encode(to_planes(values.data(), values.size()), layout, effort, payload);
  return payload;
}

std::vector<std::int32_t> decoded(const Payload& payload, const Layout& layout) {
  std::vector<std::int32_t> values(layout.size());
  to_values(decode(payload, layout), values.data());
  return values;
}

void expect_round_trip(const std::vector<std::int32_t>& values, const Layout& layout) {
  for (const Effort effort : {Effort::fast, Effort::thorough}) {
    EXPECT_EQ(decoded(encoded(values, layout, effort), layout), values);
  }
}

// About `mean` in size, falling with the frequency as pictures do where `falls`.
std::vector<std::int32_t> draw(const Layout& layout, double mean, bool falls, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::int32_t> values;
  for (int c = 0; c < layout.channels; ++c) {
    for (const Frequency& frequency : triangle(layout.kept)) {
      const double size = falls ? mean / std::pow(1 + frequency.i + frequency.j, 1.5) : mean;
      std::exponential_distribution<double> magnitude(1 / size);
      for (std::size_t block = 0; block < layout.blocks(); ++block) {
        const int value = static_cast<int>(std::min(magnitude(random), 1e9));
        values.push_back(random() % 2 ? value : -value);
      }
    }
  }
  return values;
}

TEST(Rans, SymbolsHoldEveryZigzagNumber) {
  for (std::uint32_t zigzag = 0; zigzag < 1u << 18; ++zigzag) {
    const int symbol = to_symbol(zigzag);
    if (zigzag < kDirect) {
      EXPECT_EQ(symbol, static_cast<int>(zigzag));
      continue;
    }
    ASSERT_GT(symbol, kEscape);
    ASSERT_LT(symbol, kSymbols);
    ASSERT_GE(zigzag, least_zigzag(symbol));
    ASSERT_LT(zigzag - least_zigzag(symbol), 1u << raw_bits(symbol));
  }
  EXPECT_EQ(to_symbol(1u << 18), kEscape);
  EXPECT_EQ(to_symbol(std::numeric_limits<std::uint32_t>::max()), kEscape);
}

TEST(Rans, ContextsAreHalfOctaves) {
  EXPECT_EQ(context_of(0), 0);
  EXPECT_EQ(context_of(1), 1);
  EXPECT_EQ(context_of(2), 2);
  EXPECT_EQ(context_of(62), 10);  // 1, and the 2 that are added
  EXPECT_EQ(context_of(94), 11);  // 1.5
  EXPECT_LT(context_of(32765), kContexts);
  for (std::uint32_t size = 1; size <= 32765; ++size) ASSERT_GE(context_of(size), context_of(size - 1));
}

TEST(Rans, DivisionIsExact) {
  for (const auto& row : encoding_table()) {
    for (const Range& range : row) {
      if (range.frequency == 0) continue;
      const std::uint32_t limit = static_cast<std::uint32_t>(std::uint64_t{range.frequency} << 22) - 1;
      for (const std::uint32_t state : {1u << 16, 65537u, limit / 2, limit - range.frequency, limit - 1, limit}) {
        if (state > limit) continue;
        ASSERT_EQ(range.divide(state), state / range.frequency) << state << " / " << range.frequency;
      }
    }
  }
}

// Sizes on both sides of every number of lanes, runs that do not fill a vector, one block and many.
TEST(Rans, RoundTripsAllShapes) {
  unsigned seed = 0;
  for (const int channels : {1, 3}) {
    for (const int kept : {1, 2, 3, 7, 16, 33}) {
      for (const auto& [across, down] : {std::pair{1, 1}, {2, 1}, {1, 3}, {3, 2}, {8, 8}, {9, 7}, {16, 5}, {33, 4}}) {
        const Layout layout{channels, kept, across, down};
        for (const double mean : {0.05, 2.0, 60.0}) expect_round_trip(draw(layout, mean, true, ++seed), layout);
      }
    }
  }
}

TEST(Rans, RoundTripsExtremes) {
  const Layout layout{3, 4, 5, 3};
  for (const std::int32_t value : {0, 1, -1, 7, -8, 8, 127, -128, 128, 1 << 16, -(1 << 17), 1 << 17, kMax, kMin}) {
    expect_round_trip(std::vector<std::int32_t>(layout.size(), value), layout);
    std::vector<std::int32_t> one(layout.size());  // where nothing is expected: an escape
    one.back() = value;
    expect_round_trip(one, layout);
    one = {};
    one.resize(layout.size());
    one[layout.blocks()] = value;
    expect_round_trip(one, layout);
  }
  std::mt19937 random(11);
  std::vector<std::int32_t> wild(layout.size());
  for (int round = 0; round < 200; ++round) {
    for (std::int32_t& value : wild) value = static_cast<std::int32_t>(random()) >> random() % 32;
    expect_round_trip(wild, layout);
  }
}

TEST(Rans, NothingCostsNextToNothing) {
  const Layout layout{3, 8, 64, 64};
  EXPECT_LT(encoded(std::vector<std::int32_t>(layout.size()), layout).size(), 200u);  // of 442 thousand coefficients
  // Of 27648 coefficients, 768 are coded: the lanes are as many as these need.
  const Layout small{3, 8, 16, 16};
  EXPECT_LT(encoded(std::vector<std::int32_t>(small.size()), small).size(), 32u);
}

// The reason for this coder: a tenth smaller than zstd's strongest level at least.
TEST(Rans, PicturesAreSmallerThanWithZstd) {
  const Picture picture = test::photograph();
  for (const char* text : {"1x1/b256/k16/q50@256", "1x1/b32/k3/q50@256", "1x1/b128/k17/q50@256", "1x1/b128/k41/q50@256",
                           "1x1/b16/k8/q50@256"}) {
    const Coefficients coefficients = encode(picture, parse_format(text), Interrupt{});
    const std::size_t header = kValueHeaderSize;
    EXPECT_LT(10 * (write_value(coefficients, 3, Coder::rans).size() - header),
              9 * (write_value(coefficients, 19, Coder::zstd).size() - header))
        << text;
  }
}

TEST(Rans, ThoroughIsNotLargerOnPictures) {
  const Picture photo = test::photograph();
  for (const char* text : {"1x1/b32/k6/q20@256", "1x1/b16/k8/q50@256", "1x1/b256/k64/q20@256", "4x4/b8/k8/q100@128"}) {
    const Coefficients coefficients = encode(photo, parse_format(text), Interrupt{});
    EXPECT_LE(write_value(coefficients, 4).size(), write_value(coefficients, 3).size() + 1) << text;
    EXPECT_LE(write_value(coefficients, 19).size(), write_value(coefficients, 9).size()) << text;
  }
}

// Few coefficients, large ones, where none is expected: what escapes cost is part of the choice.
TEST(Rans, ThoroughIsNotLargerOnDrawings) {
  const Layout layout{3, 8, 16, 16};
  std::mt19937 random(5);
  for (const std::uint32_t one_in : {5, 20, 100, 1000}) {
    std::vector<std::int32_t> values(layout.size());
    for (std::int32_t& value : values) {
      if (random() % one_in == 0) value = static_cast<std::int32_t>(random() % 4000) - 2000;
    }
    EXPECT_LE(encoded(values, layout, Effort::thorough).size(), encoded(values, layout).size() + 1) << one_in;
  }
}

TEST(Rans, CanBeInterrupted) {
  const Layout layout{3, 4, 8, 8};
  const std::vector<std::int32_t> values = draw(layout, 20, true, 3);
  const Payload payload = encoded(values, layout);
  EXPECT_EQ(test::fault_of([&] { decode(payload, layout, test::Stop{}); }), Fault::cancelled);
  for (const Effort effort : {Effort::fast, Effort::thorough}) {
    Payload none;
    EXPECT_EQ(test::fault_of([&] {
                encode(to_planes(values.data(), values.size()), layout, effort, none, test::Stop{});
              }),
              Fault::cancelled);
  }
}

TEST(Rans, AllCpuPathsGiveTheSameBytes) {
  for (const auto& [kept, across, down] : {std::tuple{16, 1, 1}, {3, 8, 8}, {41, 2, 2}, {8, 16, 16}, {4, 37, 11}}) {
    const Layout layout{3, kept, across, down};
    const std::vector<std::int32_t> values = draw(layout, 20, true, 9);
    force_cpu_path("");
    const Payload best = encoded(values, layout, Effort::thorough);
    for (const std::string& path : cpu_paths()) {
      force_cpu_path(path);
      EXPECT_EQ(encoded(values, layout, Effort::thorough), best) << path;
      EXPECT_EQ(decoded(best, layout), values) << path;
    }
    force_cpu_path("");
  }
}

TEST(Rans, AShortPayloadIsRefusedBeforeMemoryIsTaken) {
  const Layout layout{3, 8, 60000, 60000};
  EXPECT_EQ(test::fault_of([&] { decode(Payload(1000), layout); }), Fault::corrupt_value);
}

}  // namespace
}  // namespace imagecalc::rans
