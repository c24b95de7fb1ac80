// Stored values: round trips, and what becomes of damaged ones.
#define ZSTD_STATIC_LINKING_ONLY

#include "codec/value.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <limits>
#include <memory>
#include <thread>

#include "pictures.h"
#include "seal.h"

namespace imagecalc {
namespace {

using Value = std::vector<std::uint8_t>;

constexpr std::int32_t kMin = std::numeric_limits<std::int32_t>::min(), kMax = std::numeric_limits<std::int32_t>::max();

Coefficients make_coefficients(const char* format, int channels, int width, int height) {
  Coefficients result;
  result.format = parse_format(format);
  result.channels = channels;
  result.coded_width = width;
  result.coded_height = height;
  result.source_width = static_cast<std::uint32_t>(width);
  result.source_height = static_cast<std::uint32_t>(height);
  result.values.resize(static_cast<std::size_t>(channels * triangle_size(result.format.kept) * result.geometry().blocks()));
  return result;
}

void expect_round_trip(const Coefficients& coefficients, int level = kDefaultCompressionLevel) {
  const Value value = write_value(coefficients, level);
  const Coefficients read = read_value(value, Limits{});
  EXPECT_EQ(read.format, coefficients.format);
  EXPECT_EQ(read.channels, coefficients.channels);
  EXPECT_EQ(read.coded_width, coefficients.coded_width);
  EXPECT_EQ(read.coded_height, coefficients.coded_height);
  EXPECT_EQ(read.source_width, coefficients.source_width);
  EXPECT_EQ(read.source_height, coefficients.source_height);
  EXPECT_EQ(read.values, coefficients.values);
  EXPECT_EQ(write_value(read, level), value);
  const std::size_t size = coefficients.values.size();
  if (to_planes(coefficients.values.data(), size).large.size() > size / 16 + 16) {
    EXPECT_EQ(test::fault_of([&] { write_value(coefficients, level, Coder::zstd); }), Fault::invalid_argument);
  } else {
    EXPECT_EQ(read_value(write_value(coefficients, level, Coder::zstd), Limits{}).values, coefficients.values);
  }
}

Value small_value(Coder coder = Coder::rans) {
  const Picture part = test::crop(test::photograph(), Box{0, 0, 20, 12});
  return write_value(encode(part, parse_format("1x1/b8/k2/q5"), Interrupt{}), 3, coder);
}

// A value with the header of `like` around a payload of one's own, its checksum right; with ZSTD_e_flush the frame has all
// its bytes but no end.
Value with_payload(const Value& like, const Value& bytes, ZSTD_EndDirective end = ZSTD_e_end) {
  std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_format, ZSTD_f_zstd1_magicless);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, 0);
  Value value(like.begin(), like.begin() + kValueHeaderSize);
  value.resize(kValueHeaderSize + ZSTD_compressBound(bytes.size()));
  ZSTD_outBuffer output{value.data(), value.size(), kValueHeaderSize};
  ZSTD_inBuffer input{bytes.data(), bytes.size(), 0};
  EXPECT_EQ(ZSTD_compressStream2(context.get(), &output, &input, end), 0u);
  value.resize(output.pos);
  test::seal(value);
  return value;
}

// The payload of coder 0 before compression, told from the end of decompression rather than from the header.
Value payload_of(const Value& value) {
  std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_format, ZSTD_f_zstd1_magicless);
  Value bytes(1 << 20);
  bytes.resize(ZSTD_decompressDCtx(context.get(), bytes.data(), bytes.size(), value.data() + kValueHeaderSize,
                                   value.size() - kValueHeaderSize));
  return bytes;
}

Fault read_fault(const Value& value) {
  return test::fault_of([&] { read_value(value, Limits{}); });
}

TEST(Value, RoundTripsPictures) {
  const Picture photo = test::photograph();
  for (const Picture& picture : {photo, test::to_gray(photo)}) {
    for (const char* format : {"1x1/b32/k6/q50@256", "2x2r/b8/k8/q1", "4x4/b256/k256/q20@64", "2x2c/b16/k1/q255"}) {
      expect_round_trip(encode(picture, parse_format(format), Interrupt{}));
    }
  }
}

TEST(Value, RoundTripsEveryInt32) {
  const std::int32_t odd[] = {kMin, kMax, 0, -1, 1, kMin + 1, kMax - 1, 127, -127, -128, 128, 255, 1 << 30, -(1 << 30)};
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    Coefficients coefficients = make_coefficients("1x1/b8/k3/q50", round % 2 == 0 ? 3 : 1, 50, 30);
    for (std::int32_t& value : coefficients.values) {
      value = round % 3 == 0 ? static_cast<std::int32_t>(random()) : odd[random() % std::size(odd)];
    }
    expect_round_trip(coefficients);
  }
}

TEST(Value, RoundTripsAtEveryLevelAndFromThreads) {
  const Coefficients coefficients = encode(test::photograph(), parse_format("1x1/b16/k5/q20@128"), Interrupt{});
  for (int level = 1; level <= 19; ++level) expect_round_trip(coefficients, level);
  std::vector<std::thread> threads;
  for (int n = 1; n <= 4; ++n) threads.emplace_back([&, n] { expect_round_trip(coefficients, n); });
  for (std::thread& thread : threads) thread.join();
  for (int level : {0, -1, 20}) {
    EXPECT_EQ(test::fault_of([&] { write_value(coefficients, level); }), Fault::invalid_argument);
  }
}

TEST(Value, LayoutIsTheDocumentedOne) {
  // Two rows of four blocks, frequencies (0,0), (0,1), (1,0).
  Coefficients coefficients = make_coefficients("2x2r/b8/k2/q50", 1, 32, 32);
  coefficients.values = {10, 20, 15, 9, 12, 30, 14, 405,        //
                         0,  1,  -1, 2, -2, 127, -127, -128,    //
                         128, kMin, 0, 5, 0, 0, 0, 0};
  const Value value = write_value(coefficients, 19, Coder::zstd);
  const Value header(value.begin(), value.begin() + 20);
  EXPECT_EQ(header, (Value{0x1C, 1, 0, 1, 0, 0xC8, 0x04, 0x20, 32, 0, 32, 0, 32, 0, 0, 0, 32, 0, 0, 0}));
  // The first row is predicted from the west; below, 10 from the north, then the median edge: 20 (north-west is lowest),
  // 30 + 15 - 20 (it is between), 9 (it is highest).
  const Value expected = {20, 20, 9, 11, 4, 20, 21, 255,      //
                          0, 2, 1, 4, 3, 254, 253, 255,       //
                          255, 255, 0, 10, 0, 0, 0, 0,        //
                          0x8C, 1, 0, 0, 0x80, 0xFF, 0xFF, 0xFF, 128, 0, 0, 0, 0, 0, 0, 0x80};
  EXPECT_EQ(payload_of(value), expected);
  EXPECT_EQ(read_value(with_payload(value, expected), Limits{}).values, coefficients.values);
}

TEST(Value, HeaderAloneIsEnoughForTheHeader) {
  const Value value = small_value();
  const ValueHeader header = read_value_header(Bytes(value).first(kValueHeaderSize), Limits{});
  EXPECT_EQ(to_string(header.format), "1x1/b8/k2/q5");
  EXPECT_EQ(header.coded_width, 20);
  EXPECT_EQ(header.coded_height, 12);
  EXPECT_EQ(header.source_width, 20u);
  EXPECT_EQ(header.source_height, 12u);
  EXPECT_EQ(header.value_count(), 3 * 3 * 6);
}

TEST(Value, EveryTruncationIsAnError) {
  for (const Coder coder : kCoders) {
    const Value value = small_value(coder);
    for (std::size_t size = 0; size < value.size(); ++size) {
      Value part(value.begin(), value.begin() + size);
      EXPECT_EQ(read_fault(part), Fault::corrupt_value) << size;
      if (size < kValueHeaderSize) continue;
      test::seal(part);
      EXPECT_EQ(read_fault(part), Fault::corrupt_value) << size;
    }
  }
}

TEST(Value, EveryFlippedBitIsAnErrorOrAValue) {
  for (const Coder coder : kCoders) {
    const Value value = small_value(coder);
    for (std::size_t bit = 0; bit < 8 * value.size(); ++bit) {
      Value damaged = value;
      damaged[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
      EXPECT_TRUE(read_fault(damaged) == Fault::corrupt_value || read_fault(damaged) == Fault::limit_exceeded) << bit;
      test::seal(damaged);
      try {
        expect_round_trip(read_value(damaged, Limits{}));
      } catch (const Error& error) {
        EXPECT_TRUE(error.fault() == Fault::corrupt_value || error.fault() == Fault::limit_exceeded) << error.what();
      }
    }
  }
}

TEST(Value, RandomBytesAreAnError) {
  std::mt19937 random(3);
  const Value values[] = {small_value(Coder::zstd), small_value(Coder::rans)};
  for (int round = 0; round < 20'000; ++round) {
    const Value& like = values[round / 2 % std::size(values)];
    Value bytes(random() % 200);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
    // Half of them with a good header and checksum, so that the decompressor sees them.
    if (round % 2 == 0 && bytes.size() >= kValueHeaderSize) {
      std::copy_n(like.begin(), kValueHeaderSize, bytes.begin());
      test::seal(bytes);
    }
    EXPECT_EQ(read_fault(bytes), Fault::corrupt_value);
  }
}

TEST(Value, ZstdPayloadMustMatchTheHeader) {
  const Value value = small_value(Coder::zstd);
  Value bytes = payload_of(value);
  ASSERT_NO_THROW(read_value(with_payload(value, bytes), Limits{}));
  EXPECT_EQ(read_fault(with_payload(value, bytes, ZSTD_e_flush)), Fault::corrupt_value);
  bytes.push_back(0);
  EXPECT_EQ(read_fault(with_payload(value, bytes)), Fault::corrupt_value);
  bytes.resize(bytes.size() - 2);
  EXPECT_EQ(read_fault(with_payload(value, bytes)), Fault::corrupt_value);
  EXPECT_EQ(read_fault(with_payload(value, {})), Fault::corrupt_value);
  EXPECT_EQ(read_fault(with_payload(value, Value(10'000, 0))), Fault::corrupt_value);
  Value trailing = value;
  trailing.push_back(0);
  test::seal(trailing);
  EXPECT_EQ(read_fault(trailing), Fault::corrupt_value);
  Value twice = value;  // an empty second frame
  const Value empty = with_payload(value, {});
  twice.insert(twice.end(), empty.begin() + kValueHeaderSize, empty.end());
  test::seal(twice);
  EXPECT_EQ(read_fault(twice), Fault::corrupt_value);
}

TEST(Value, LargeCoefficientsOfZstdMustBeCanonical) {
  const Value like = write_value(make_coefficients("1x1/b8/k1/q50", 1, 16, 8), 3, Coder::zstd);
  EXPECT_NO_THROW(read_value(with_payload(like, {255, 0, 200, 0, 0, 0}), Limits{}));
  EXPECT_EQ(read_fault(with_payload(like, {255, 0, 127, 0, 0, 0})), Fault::corrupt_value);  // fits a byte
  EXPECT_EQ(read_fault(with_payload(like, {255, 0})), Fault::corrupt_value);
  EXPECT_EQ(read_fault(with_payload(like, {255, 0, 200, 0, 0})), Fault::corrupt_value);
  EXPECT_EQ(read_fault(with_payload(like, {255, 0, 200, 0, 0, 0, 200, 0, 0, 0})), Fault::corrupt_value);
  EXPECT_EQ(read_fault(with_payload(like, {0, 0, 200, 0, 0, 0})), Fault::corrupt_value);
}

// So that a few bytes cannot ask for much memory.
TEST(Value, ZstdHoldsFewLargeCoefficients) {
  const Value like = write_value(make_coefficients("1x1/b8/k1/q50", 1, 256, 256), 3, Coder::zstd);  // of 1024 coefficients
  for (const std::size_t count : {80u, 81u}) {
    Value bytes(1024, 0);
    std::fill_n(bytes.begin(), count, std::uint8_t{255});
    for (std::size_t n = 0; n < count; ++n) bytes.insert(bytes.end(), {0, 0, 16, 0});
    const Value value = with_payload(like, bytes);
    if (count <= 1024 / 16 + 16) {
      EXPECT_NO_THROW(read_value(value, Limits{}));
    } else {
      EXPECT_EQ(read_fault(value), Fault::corrupt_value);
    }
  }
}

TEST(Value, WritingCanBeCancelled) {
  const Coefficients coefficients = make_coefficients("1x1/b8/k8/q1", 3, 64, 64);
  for (const int level : {4, 19}) {
    EXPECT_EQ(test::fault_of([&] { write_value(coefficients, level, test::Stop{}); }), Fault::cancelled);
  }
}

TEST(Value, ReadingCanBeCancelled) {
  for (const Coder coder : kCoders) {
    const Value value = small_value(coder);
    EXPECT_EQ(test::fault_of([&] { read_image(value, Limits{}, test::Stop{}); }), Fault::cancelled);
    EXPECT_EQ(test::fault_of([&] { read_value(value, Limits{}, test::Stop{}); }), Fault::cancelled);
  }
}

// What is not of this version need not be damaged.
TEST(Value, NewerVersionsAreNotCalledCorrupt) {
  constexpr std::uint8_t kReservedBlock = 6 << 2;
  const struct {
    std::size_t at;
    std::uint8_t byte;
    std::string what;
  } kNews[] = {{1, 2, "version 2"}, {2, 7, "coder 7"}, {7, kReservedBlock, "format code 402920448"}};
  for (const auto& news : kNews) {
    Value value = small_value();
    value[news.at] = news.byte;
    test::seal(value);
    try {
      read_value(value, Limits{});
      ADD_FAILURE() << news.what << " was read";
    } catch (const Error& error) {
      EXPECT_EQ(error.what(), "image value has " + news.what + ", which this imagecalc does not know");
      EXPECT_EQ(error.hint(), "A newer version of imagecalc may have written it.");
    }
  }
}

TEST(Value, SizesMustAgree) {
  auto with = [](const Value& value, std::size_t at, std::uint8_t byte) {
    Value changed = value;
    changed[at] = byte;
    test::seal(changed);
    return changed;
  };
  const Value native = small_value();
  const Value sized = write_value(encode(test::photograph(), parse_format("1x1/b8/k2/q5@16"), Interrupt{}), 3);
  for (std::size_t at : {8u, 10u, 12u, 16u}) EXPECT_EQ(read_fault(with(native, at, 0)), Fault::corrupt_value) << at;
  for (std::size_t at : {8u, 10u, 12u, 16u}) EXPECT_EQ(read_fault(with(native, at, 21)), Fault::corrupt_value) << at;
  for (std::size_t at : {8u, 10u}) EXPECT_EQ(read_fault(with(sized, at, 24)), Fault::corrupt_value) << at;
  for (int channels : {0, 2, 4, 255}) {
    EXPECT_EQ(read_fault(with(native, 3, static_cast<std::uint8_t>(channels))), Fault::corrupt_value);
  }
}

TEST(Value, AHugeClaimCostsNothing) {
  Coefficients small = make_coefficients("1x1/b256/k256/q1", 3, 8, 8);
  Value value = write_value(small, 3);
  for (std::size_t at : {8u, 9u, 10u, 11u, 12u, 13u, 16u, 17u}) value[at] = 0xFF;
  test::seal(value);
  EXPECT_EQ(read_fault(value), Fault::limit_exceeded);
  const Limits unlimited{std::numeric_limits<std::int64_t>::max()};
  EXPECT_EQ(test::fault_of([&] { read_value(value, unlimited); }), Fault::corrupt_value);
}

}  // namespace
}  // namespace imagecalc
