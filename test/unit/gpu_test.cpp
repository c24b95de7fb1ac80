// What kernels do, done by the CPU: bit for bit the codec's own tensors, in every number and order.
#include "gpu/host.h"

#include <gtest/gtest.h>

#include <Eigen/Core>

#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <tuple>

#include "codec/encode.h"
#include "pictures.h"
#include "seal.h"

namespace imagecalc::gpu {
namespace {

constexpr Normalisation kNormalisation{{3.5f, -2.25f, 0.1f}, {40.0f, 7.0f, 3.0f}};

std::uint32_t bits(float value) { return bits_of(value); }
std::uint32_t bits(Float16 value) { return value.bits; }
std::uint32_t bits(BFloat16 value) { return value.bits; }
std::uint32_t bits(Eigen::half value) { return Eigen::numext::bit_cast<std::uint16_t>(value); }
std::uint32_t bits(Eigen::bfloat16 value) { return Eigen::numext::bit_cast<std::uint16_t>(value); }

float peer(float value, float) { return value; }
Eigen::half peer(float value, Float16) { return Eigen::half(value); }
Eigen::bfloat16 peer(float value, BFloat16) { return Eigen::bfloat16(value); }

using Value = std::vector<std::uint8_t>;

struct Packed {
  BatchLayout layout;
  std::unique_ptr<std::uint64_t[]> memory;

  const std::uint8_t* bytes() const { return reinterpret_cast<const std::uint8_t*>(memory.get()); }
};

Packed packed(std::span<const Sent> images) {
  Packed result{lay_out(images), nullptr};
  result.memory = std::make_unique<std::uint64_t[]>(result.layout.bytes / sizeof(std::uint64_t) + 1);
  pack(images, result.layout, reinterpret_cast<std::uint8_t*>(result.memory.get()));
  return result;
}

// as_payloads: decoded by the device's code, else by the codec.
Packed packed(std::span<const Value> values, bool as_payloads) {
  std::vector<Sent> images;
  for (const Value& value : values) {
    if (as_payloads) {
      images.push_back(read_payload(value, Limits{}));
      EXPECT_TRUE(device_decodes(std::get<StoredPayload>(images.back())));
    } else {
      images.push_back(read_image(value, Limits{}));
    }
  }
  return packed(images);
}

constexpr NumberKind kind_of(float) { return NumberKind::float32; }
constexpr NumberKind kind_of(Float16) { return NumberKind::float16; }
constexpr NumberKind kind_of(BFloat16) { return NumberKind::bfloat16; }

// The codec's tensors, in that number and order.
template <typename Number>
std::vector<std::uint32_t> expected(std::span<const Value> values, Order order) {
  const Geometry geometry = read_value_header(values.front(), Limits{}).geometry();
  const std::size_t area = static_cast<std::size_t>(geometry.tensor_area());
  std::vector<float> tensors(values.size() * kTensorChannels * area);
  read_batch(std::vector<Bytes>(values.begin(), values.end()), Limits{}, kNormalisation, tensors.data());
  std::vector<std::uint32_t> result;
  for (std::size_t image = 0; image < values.size(); ++image) {
    for (std::size_t n = 0; n < kTensorChannels * area; ++n) {
      const std::size_t from = order == Order::channels_last ? n % kTensorChannels * area + n / kTensorChannels : n;
      result.push_back(bits(peer(tensors[image * kTensorChannels * area + from], Number{})));
    }
  }
  return result;
}

template <typename Number>
void expect_codecs_tensor(std::span<const Value> values, bool as_payloads, Order order) {
  const Packed batch = packed(values, as_payloads);
  const Format format = read_value_header(values.front(), Limits{}).format;
  std::vector<Number> tensors(values.size() * kTensorChannels * batch.layout.shape.area());
  const auto refused = run_on_host(batch.bytes(), batch.layout, affine_of(format, kNormalisation), order, kind_of(Number{}),
                                   tensors.data());
  ASSERT_EQ(refused, std::vector<bool>(values.size(), false)) << to_string(format);
  const std::vector<std::uint32_t> wanted = expected<Number>(values, order);
  ASSERT_EQ(tensors.size(), wanted.size());
  for (std::size_t n = 0; n < wanted.size(); ++n) {
    ASSERT_EQ(bits(tensors[n]), wanted[n]) << to_string(format) << ", element " << n << (as_payloads ? ", decoded" : "");
  }
}

void expect_all_numbers(std::span<const Value> values, bool as_payloads) {
  for (const Order order : {Order::channels_first, Order::channels_last}) {
    expect_codecs_tensor<float>(values, as_payloads, order);
    expect_codecs_tensor<Float16>(values, as_payloads, order);
    expect_codecs_tensor<BFloat16>(values, as_payloads, order);
    if (testing::Test::HasFatalFailure()) return;
  }
}

void expect_all(std::span<const Value> values) {
  expect_all_numbers(values, false);
  expect_all_numbers(values, true);
}

// The tests of a sanitized build take too long for all formats.
#if defined(__SANITIZE_ADDRESS__)
constexpr int kFormatStep = 13;
#else
constexpr int kFormatStep = 1;
#endif

class AllFormats : public testing::TestWithParam<std::tuple<Subsampling, int>> {};

// Of colour and gray, in every number and order, and decoded by the device's code.
TEST_P(AllFormats, AreTheCodecs) {
  const auto [subsampling, quantizer] = GetParam();
  const Picture colour = test::drawn_picture(40, 56, 3), gray = test::drawn_picture(48, 40, 1);
  int formats = 0;
  for (const Format& format : design_space(32)) {
    if (format.subsampling != subsampling || format.quantizer != quantizer) continue;
    if (formats++ % kFormatStep != 0) continue;
    const std::vector<Value> values = {write_value(encode(colour, format, {}), 3), write_value(encode(gray, format, {}), 5)};
    expect_all_numbers(values, false);
    expect_codecs_tensor<float>(values, true, Order::channels_first);
    if (HasFatalFailure()) return;
  }
  EXPECT_EQ(formats, 504);
}

INSTANTIATE_TEST_SUITE_P(Gpu, AllFormats,
                         testing::Combine(testing::Values(Subsampling::none, Subsampling::rows, Subsampling::columns,
                                                          Subsampling::both),
                                          testing::ValuesIn(kSearchedQuantizers)),
                         [](const auto& tested) {
                           const std::string text = to_string(Format{.subsampling = std::get<0>(tested.param)});
                           return text.substr(0, text.find('/')) + "q" + std::to_string(std::get<1>(tested.param));
                         });

TEST(Gpu, PhotographsAreTheCodecs) {
  for (const char* text : {"1x1/b32/k6/q50@256", "4x4/b8/k8/q1@256", "1x1/b256/k24/q20@256", "2x2c/b16/k9/q20@128", "1x1/b8/k1/q7",
                           "2x2r/b64/k33/q3@200"}) {
    const Format format = parse_format(text);
    const Value value = write_value(encode(test::photograph(), format, {}), 3);
    expect_all(std::vector<Value>{value, value, value});
  }
}

// Escapes, symbols with raw bits, frequency (0,0) that leaves the bytes, and numbers that wrap around.
TEST(Gpu, LargeCoefficientsAreTheCodecs) {
  std::mt19937 random(5);
  for (const auto& [text, width, height] :
       {std::tuple{"1x1/b8/k4/q20", 100, 30}, {"1x1/b16/k16/q1", 16, 16}, {"4x4/b32/k11/q255", 600, 70}}) {
    Coefficients image{parse_format(text), 3, width, height, 0, 0, {}};
    image.source_width = static_cast<std::uint32_t>(width);
    image.source_height = static_cast<std::uint32_t>(height);
    const std::size_t count = static_cast<std::size_t>(3 * triangle_size(image.format.kept) * image.geometry().blocks());
    for (int round = 0; round < 20; ++round) {
      image.values.assign(count, 0);
      for (std::size_t n = 0; n < count; n += 1 + random() % 40) {
        image.values[n] = static_cast<std::int32_t>(random()) >> random() % 32;
      }
      expect_all(std::vector<Value>{write_value(image, 3)});
      if (HasFatalFailure()) return;
    }
  }
}

// A device refuses what has more large coefficients than it has room for; the codec does not.
TEST(Gpu, TooManyLargeCoefficientsAreRefused) {
  Coefficients image{parse_format("1x1/b8/k4/q20"), 3, 64, 64, 64, 64, std::vector<std::int32_t>(3 * 10 * 64, 1000)};
  const Value value = write_value(image, 3);
  const Packed batch = packed(std::vector<Value>{value}, true);
  std::vector<float> tensor(kTensorChannels * batch.layout.shape.area());
  EXPECT_EQ(run_on_host(batch.bytes(), batch.layout, Affine{}, Order::channels_first, NumberKind::float32, tensor.data()),
            std::vector<bool>{true});
  expect_codecs_tensor<float>(std::vector<Value>{value}, false, Order::channels_first);
}

// Damage of the words is noticed, of the raw bits behind them mostly not.
Value damaged(const Value& whole, int round, std::mt19937& random) {
  Value value = whole;
  const std::size_t payload = value.size() - kValueHeaderSize;
  if (round % 2 == 0) {
    value[value.size() - 1 - random() % (payload / 8)] ^= static_cast<std::uint8_t>(1u << random() % 8);
  } else {
    for (unsigned change = 0; change <= random() % 3; ++change) {
      value[kValueHeaderSize + random() % payload] = static_cast<std::uint8_t>(random());
    }
  }
  if (round % 8 == 1) value.resize(kValueHeaderSize + 1 + random() % payload);
  if (round % 8 == 3) value.resize(value.size() + 1 + random() % 9, static_cast<std::uint8_t>(random() % 2 == 0 ? 0 : random()));
  test::seal(value);
  return value;
}

// Refused where the codec throws, else decoded to what the codec makes of it.
TEST(Gpu, DamagedPayloadsAreRefused) {
  const Value whole = write_value(encode(test::photograph(), parse_format("1x1/b16/k6/q3@96"), {}), 3);
  std::mt19937 random(3);
  int refused = 0, decoded = 0;
  for (int round = 0; round < 3000; ++round) {
    const Value value = damaged(whole, round, random);
    try {
      read_image(value, Limits{});
    } catch (const Error&) {
      const Packed batch = packed(std::vector<Value>{value}, true);
      std::vector<float> tensor(kTensorChannels * batch.layout.shape.area());
      ASSERT_EQ(run_on_host(batch.bytes(), batch.layout, Affine{}, Order::channels_first, NumberKind::float32, tensor.data()),
                std::vector<bool>{true});
      ++refused;
      continue;
    }
    expect_codecs_tensor<float>(std::vector<Value>{value}, true, Order::channels_first);
    if (HasFatalFailure()) return;
    ++decoded;
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(decoded, 100);
}

// Some sent decoded, some not, as a value of the other coder has to be.
TEST(Gpu, ABatchMayBeMixed) {
  const Format format = parse_format("1x1/b16/k6/q20@96");
  std::vector<Value> values;
  for (unsigned seed = 0; seed < 3; ++seed) {
    const Coefficients image = encode(test::drawn_picture(96, 96, seed == 2 ? 1 : 3, seed), format, {});
    values.push_back(seed == 1 ? write_value(image, 10, Coder::zstd) : write_value(image, 3));
  }
  std::vector<Sent> images;
  for (const Value& value : values) {
    const StoredPayload payload = read_payload(value, Limits{});
    if (device_decodes(payload)) {
      images.push_back(payload);
    } else {
      images.push_back(read_image(value, Limits{}));
    }
  }
  EXPECT_TRUE(std::holds_alternative<StoredImage>(images[1]));
  const Packed batch = packed(images);
  std::vector<float> tensors(3 * kTensorChannels * batch.layout.shape.area());
  run_on_host(batch.bytes(), batch.layout, affine_of(format, kNormalisation), Order::channels_first, NumberKind::float32, tensors.data());
  const auto wanted = expected<float>(values, Order::channels_first);
  for (std::size_t n = 0; n < wanted.size(); ++n) ASSERT_EQ(bits(tensors[n]), wanted[n]) << n;
}

TEST(Gpu, WhatADeviceDoesNotDecodeIsNotSentToIt) {
  const Format native = parse_format("1x1/b8/k8/q50");
  const Coefficients small = encode(test::drawn_picture(64, 64, 1), native, {});
  const Value zstd = write_value(small, 10, Coder::zstd);
  const Value large = write_value(encode(test::drawn_picture(1024, 1024, 1), native, {}), 3);
  for (const Value& value : {zstd, large}) {
    const StoredPayload payload = read_payload(value, Limits{});
    EXPECT_FALSE(device_decodes(payload));
    std::vector<Sent> images;
    images.push_back(payload);
    EXPECT_EQ(test::fault_of([&] { lay_out(images); }), Fault::invalid_argument);
  }
}

TEST(Gpu, ABatchHasOneFormat) {
  const Picture picture = test::drawn_picture(64, 64, 3);
  std::vector<Sent> images;
  for (const char* text : {"1x1/b16/k6/q20@64", "1x1/b16/k6/q50@64"}) {
    images.push_back(read_image(write_value(encode(picture, parse_format(text), {}), 3), Limits{}));
  }
  EXPECT_EQ(test::fault_of([&] { lay_out(images); }), Fault::wrong_format);
}

TEST(Gpu, NumbersAreRoundedAsEigenRounds) {
  std::vector<float> values = {0.0f, -0.0f, 1.0f, 65504.0f, 65519.9f, 65520.0f, 1e-8f, 5.9604645e-8f, 2.9802322e-8f, 6.1035156e-5f,
                               std::numeric_limits<float>::infinity(), std::numeric_limits<float>::max(),
                               std::numeric_limits<float>::denorm_min()};
  for (std::uint64_t pattern = 0; pattern < std::uint64_t{1} << 32; pattern += 4099) {
    values.push_back(Eigen::numext::bit_cast<float>(static_cast<std::uint32_t>(pattern)));
  }
  for (const float value : values) {
    for (const float number : {value, -value}) {
      if (std::isnan(number)) {
        EXPECT_GT(number_of<Float16>(number).bits & 0x7fff, 0x7c00);
        EXPECT_GT(number_of<BFloat16>(number).bits & 0x7fff, 0x7f80);
        continue;
      }
      ASSERT_EQ(bits(number_of<Float16>(number)), bits(Eigen::half(number))) << number;
      ASSERT_EQ(bits(number_of<BFloat16>(number)), bits(Eigen::bfloat16(number))) << number;
    }
  }
}

}  // namespace
}  // namespace imagecalc::gpu
