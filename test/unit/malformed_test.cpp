// Damaged stored values: an image or a clean error, whatever the bytes, and nothing read past their end (as the sanitized
// build sees: every value is given in memory of exactly its size).
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "codec/tensor.h"
#include "codec/value.h"
#include "pictures.h"
#include "seal.h"

namespace imagecalc {
namespace {

using Value = std::vector<std::uint8_t>;

constexpr Limits kLimits{.max_pixels = 1 << 16};
constexpr std::int64_t kMaxTensor = 1 << 16;

// ---- what is damaged

Value make_value(const char* format, int channels, int width, int height) {
  const Picture picture = test::crop(test::photograph(), Box{17, 9, width, height});
  return write_value(encode(channels == 1 ? test::to_gray(picture) : picture, parse_format(format), Interrupt{}), 3);
}

// Coefficients that no picture has: of all sizes, so that escapes of every kind are met.
Value large_value() {
  Coefficients coefficients = encode(test::crop(test::photograph(), Box{0, 0, 30, 20}), parse_format("1x1/b8/k3/q1"), {});
  std::mt19937 random(5);
  for (std::int32_t& value : coefficients.values) value = static_cast<std::int32_t>(random()) >> random() % 32;
  return write_value(coefficients, 3);
}

// Of every subsampling, gray and coloured, native and scaled, one block and many, all coefficients and one.
const std::vector<Value>& small_values() {
  static const std::vector<Value> values = {
      make_value("1x1/b8/k2/q5", 3, 20, 12),     make_value("1x1/b8/k8/q3", 1, 17, 9),
      make_value("2x2r/b16/k4/q20", 3, 40, 70),  make_value("2x2c/b8/k1/q1@64", 3, 50, 50),
      make_value("4x4/b32/k9/q9", 3, 33, 65),    make_value("1x1/b256/k16/q50@256", 3, 90, 60),
      make_value("1x1/b128/k5/q255", 1, 5, 5),   large_value()};
  return values;
}

// ---- what may come of it

// The same bytes where the next ones are not ours.
struct Exact {
  explicit Exact(const Value& value) : bytes(new std::uint8_t[value.size()]), size(value.size()) {
    std::copy(value.begin(), value.end(), bytes.get());
  }
  operator Bytes() const { return {bytes.get(), size}; }

  std::unique_ptr<std::uint8_t[]> bytes;
  std::size_t size;
};

void expect_image(Bytes value) {
  const Coefficients read = read_value(value, kLimits);
  const Coefficients again = read_value(write_value(read, 1), kLimits);
  EXPECT_EQ(again.values, read.values);
  const std::int64_t area = read.geometry().tensor_area();
  if (area > kMaxTensor) return;
  const Normalisation normalisation{{1, 2, 3}, {4, 5, 6}};
  std::vector<float> tensor(static_cast<std::size_t>(3 * area)), wanted(tensor.size());
  read_batch({&value, 1}, kLimits, normalisation, tensor.data());
  place_normalised(read, normalisation, wanted.data());
  EXPECT_EQ(tensor, wanted) << "from bytes as from coefficients";
  std::vector<std::int8_t> narrow(tensor.size());
  place_scaled(read_image(value, kLimits), {1, 20, 300}, narrow.data());
}

// Whether it is an image.
bool expect_image_or_error(const Value& value) {
  try {
    const Exact exact(value);
    expect_image(exact);
    return true;
  } catch (const Error& error) {
    EXPECT_TRUE(error.fault() == Fault::corrupt_value || error.fault() == Fault::limit_exceeded) << error.what();
    EXPECT_NE(error.hint(), "") << error.what();
    return false;
  }
}

// As it is, and with a checksum that is right: only then the damage itself can be met.
bool expect_image_or_error_sealed(Value value) {
  test::seal(value);
  return expect_image_or_error(value);
}

TEST(Malformed, TheValuesAreGoodBeforehand) {
  for (Value value : small_values()) {
    EXPECT_TRUE(expect_image_or_error(value));
    const Value written = value;
    test::seal(value);
    EXPECT_EQ(value, written) << "the test's own checksum";
  }
}

TEST(Malformed, EveryTruncation) {
  for (const Value& value : small_values()) {
    for (std::size_t size = 0; size < value.size(); ++size) {
      const Value part(value.begin(), value.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_FALSE(expect_image_or_error(part)) << size;
      EXPECT_FALSE(expect_image_or_error_sealed(part)) << size;
    }
  }
}

TEST(Malformed, EveryFlippedBit) {
  for (Value value : small_values()) {
    for (std::size_t bit = 0; bit < 8 * value.size(); ++bit) {
      const auto mask = static_cast<std::uint8_t>(1 << bit % 8);
      value[bit / 8] ^= mask;
      EXPECT_FALSE(expect_image_or_error(value)) << "the checksum missed bit " << bit;
      expect_image_or_error_sealed(value);
      value[bit / 8] ^= mask;
    }
  }
}

TEST(Malformed, EveryByteOfTheHeader) {
  for (Value value : small_values()) {
    for (std::size_t at = 0; at < kValueHeaderSize; ++at) {
      const std::uint8_t good = value[at];
      for (int byte = 0; byte < 256; ++byte) {
        value[at] = static_cast<std::uint8_t>(byte);
        expect_image_or_error_sealed(value);
      }
      value[at] = good;
    }
  }
}

TEST(Malformed, EveryExtension) {
  std::mt19937 random(11);
  for (const Value& value : small_values()) {
    for (std::size_t extra = 1; extra < 70; ++extra) {
      Value longer = value;
      for (std::size_t n = 0; n < extra; ++n) longer.push_back(static_cast<std::uint8_t>(extra % 2 ? random() : 0));
      EXPECT_FALSE(expect_image_or_error(longer));
      EXPECT_FALSE(expect_image_or_error_sealed(longer)) << extra << " bytes too many";
    }
  }
}

// Under the number of every coder.
TEST(Malformed, RandomPayloads) {
  constexpr std::size_t kCoder = 2;
  std::mt19937 random(3);
  for (const Value& like : small_values()) {
    for (int round = 0; round < 3'000; ++round) {
      Value value(like.begin(), like.begin() + kValueHeaderSize);
      value[kCoder] = static_cast<std::uint8_t>(round % 3);
      value.resize(value.size() + random() % (2 * like.size()));
      // Of few different bytes some times, since those of a payload are not of equal weight.
      const unsigned mask = round % 5 == 0 ? 0x81 : 0xFF;
      std::generate(value.begin() + kValueHeaderSize, value.end(),
                    [&] { return static_cast<std::uint8_t>(random() & mask); });
      expect_image_or_error_sealed(value);
    }
  }
}

TEST(Malformed, RunsOfWrongBytes) {
  std::mt19937 random(4);
  for (const Value& like : small_values()) {
    for (int round = 0; round < 2'000; ++round) {
      Value value = like;
      const std::size_t begin = kValueHeaderSize + random() % (value.size() - kValueHeaderSize);
      const std::size_t end = std::min<std::size_t>(begin + 1 + random() % 16, value.size());
      const std::uint8_t fill[] = {0x00, 0xFF, static_cast<std::uint8_t>(random())};
      std::fill(value.begin() + static_cast<std::ptrdiff_t>(begin), value.begin() + static_cast<std::ptrdiff_t>(end),
                fill[round % 3]);
      expect_image_or_error_sealed(value);
    }
  }
}

// One value's header before another's payload.
TEST(Malformed, ForeignPayloads) {
  const std::vector<Value>& values = small_values();
  for (std::size_t header = 0; header < values.size(); ++header) {
    for (std::size_t payload = 0; payload < values.size(); ++payload) {
      Value value(values[header].begin(), values[header].begin() + kValueHeaderSize);
      value.insert(value.end(), values[payload].begin() + kValueHeaderSize, values[payload].end());
      EXPECT_EQ(expect_image_or_error(value), header == payload) << header << " before " << payload;
      expect_image_or_error_sealed(value);
    }
  }
}

TEST(Malformed, LimitsComeBeforeThePayload) {
  for (Value value : small_values()) {
    value.back() ^= 1;
    const Limits tight{.max_pixels = 3};
    EXPECT_EQ(test::fault_of([&] { read_value(value, tight); }), Fault::limit_exceeded);
    EXPECT_EQ(test::fault_of([&] { read_value_header(value, tight); }), Fault::limit_exceeded);
  }
}

}  // namespace
}  // namespace imagecalc
