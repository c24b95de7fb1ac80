// Scaling, transform, tensor and rebuild against the reference in double precision.
#include <gtest/gtest.h>

#include "codec/crc32c.h"
#include "codec/tensor.h"
#include "codec/transform.h"
#include "codec/value.h"
#include "pictures.h"
#include "reference.h"

namespace imagecalc {
namespace {

using test::Matrix;

constexpr Subsampling kSubsamplings[] = {Subsampling::none, Subsampling::rows, Subsampling::columns, Subsampling::both};

// How far a float coefficient may be from the exact one: sums of up to 256 x 256 samples.
constexpr double kCoefficientError = 0.02;

Planes to_planes(const Picture& picture, int width, int height) {
  Planes planes = scale(picture, Box{0, 0, picture.width, picture.height}, width, height);
  to_ycbcr(planes);
  return planes;
}

// All coefficients of a picture in one subsampling and block size, by the reference.
std::vector<Matrix> reference_coefficients(const std::vector<Matrix>& planes, Subsampling subsampling, int block) {
  std::vector<Matrix> result;
  for (const Matrix& plane : planes) {
    result.push_back(test::reference_dct(test::reference_blocks(plane, subsampling, block), block));
  }
  return result;
}

// Where a kept coefficient of the tensor is found among the reference's.
double at_tensor(const Matrix& coefficients, const Format& format, int y, int x) {
  return coefficients.at(y / format.kept * format.block + y % format.kept, x / format.kept * format.block + x % format.kept);
}

// The tensor equals the quantized reference: each place within half a quantum (and the float error) of the exact value, and
// a whole number of quanta; 0 outside the triangle, and for the chroma of gray.
void expect_tensor(const std::vector<float>& tensor, const std::vector<Matrix>& reference, const Format& format,
                   const Geometry& geometry) {
  ASSERT_EQ(tensor.size(), 3 * static_cast<std::size_t>(geometry.tensor_area()));
  const float* place = tensor.data();
  double worst = 0;
  std::size_t wrong = 0;
  for (std::size_t c = 0; c < 3; ++c) {
    for (int y = 0; y < geometry.tensor_height; ++y) {
      for (int x = 0; x < geometry.tensor_width; ++x, ++place) {
        const bool inside = y % format.kept + x % format.kept < format.kept && c < reference.size();
        if (!inside || std::fmod(*place, static_cast<float>(format.quantizer)) != 0) {
          wrong += *place != 0;
          continue;
        }
        worst = std::max(worst, std::abs(*place - at_tensor(reference[c], format, y, x)));
      }
    }
  }
  EXPECT_EQ(wrong, 0u) << to_string(format);
  EXPECT_LE(worst, format.quantizer / 2.0 + kCoefficientError) << to_string(format);
}

// Writes, reads and places.
std::vector<float> through_storage(const Coefficients& coefficients) {
  const Coefficients read = read_value(write_value(coefficients, kDefaultCompressionLevel), Limits{});
  EXPECT_EQ(read.values, coefficients.values);
  std::vector<float> tensor(3 * static_cast<std::size_t>(read.geometry().tensor_area()), -1.0f);
  place(read, tensor.data());
  return tensor;
}

// The coefficients of a smaller kept from those of the whole block, channel by channel.
std::vector<float> prefix(const std::vector<float>& whole, int channels, std::int64_t blocks, int kept) {
  const std::size_t channel = whole.size() / channels, size = static_cast<std::size_t>(triangle_size(kept) * blocks);
  std::vector<float> result;
  for (int c = 0; c < channels; ++c) {
    auto begin = whole.begin() + static_cast<std::ptrdiff_t>(c * channel);
    result.insert(result.end(), begin, begin + static_cast<std::ptrdiff_t>(size));
  }
  return result;
}

Coefficients quantized(const std::vector<float>& coefficients, const Format& format, const Planes& planes) {
  Coefficients result;
  result.format = format;
  result.channels = planes.channels;
  result.coded_width = planes.width;
  result.coded_height = planes.height;
  result.source_width = static_cast<std::uint32_t>(planes.width);
  result.source_height = static_cast<std::uint32_t>(planes.height);
  result.values.resize(coefficients.size());
  quantize(coefficients.data(), coefficients.size(), format.quantizer, result.values.data());
  return result;
}

void sweep(const Picture& picture, int size, Subsampling subsampling, int block,
           const std::vector<Matrix>& reference_planes) {
  const Planes planes = to_planes(picture, size > 0 ? size : picture.width, size > 0 ? size : picture.height);
  const auto reference = reference_coefficients(reference_planes, subsampling, block);
  const auto whole = transform(planes, subsampling, block, block, Interrupt{});
  for (int kept = 1; kept <= block; ++kept) {
    for (int quantizer : kSearchedQuantizers) {
      const Format format{subsampling, block, kept, quantizer, size};
      const Geometry shape = geometry(format, planes.width, planes.height);
      const auto coefficients = quantized(prefix(whole, planes.channels, shape.blocks(), kept), format, planes);
      expect_tensor(through_storage(coefficients), reference, format, shape);
      if (kept % 16 != 3 && kept != block) continue;
      EXPECT_EQ(encode(picture, format, Interrupt{}).values, coefficients.values) << to_string(format);
    }
  }
}

TEST(Crc32c, KnownValues) {
  const std::string digits = "123456789";
  EXPECT_EQ(crc32c(Bytes(reinterpret_cast<const std::uint8_t*>(digits.data()), digits.size())), 0xE3069283u);
  EXPECT_EQ(crc32c({}), 0u);
  EXPECT_EQ(crc32c(std::vector<std::uint8_t>(32, 0)), 0x8A9136AAu);  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::vector<std::uint8_t>(32, 0xFF)), 0x62A8AB43u);
}

TEST(Scale, AgreesWithTheReference) {
  const Picture photo = test::photograph();
  const Box boxes[] = {{0, 0, photo.width, photo.height}, {3, 5, 61, 37}, {7, 0, 1, 90}, {0, 9, 80, 1}};
  for (const Box& box : boxes) {
    for (auto [width, height] : {std::pair{64, 64}, {61, 37}, {8, 104}, {200, 3}}) {
      const Planes planes = scale(photo, box, width, height);
      const Picture part = test::crop(photo, box);
      for (int c = 0; c < 3; ++c) {
        const Matrix reference = test::reference_scale(test::channel_of(part, c), width, height);
        double worst = 0;
        for (std::size_t n = 0; n < reference.values.size(); ++n) {
          worst = std::max(worst, std::abs(reference.values[n] - planes.plane(c)[n]));
        }
        EXPECT_LT(worst, 1e-3) << box.width << "x" << box.height << " to " << width << "x" << height;
      }
    }
  }
}

TEST(Scale, CopiesWhatHasTheSize) {
  const Picture picture = test::drawn_picture(13, 7, 3);
  const Planes planes = scale(picture, Box{2, 1, 5, 6}, 5, 6);
  for (int y = 0; y < 6; ++y) {
    for (int x = 0; x < 5; ++x) {
      for (int c = 0; c < 3; ++c) EXPECT_EQ(planes.plane(c)[y * 5 + x], picture.samples[((y + 1) * 13 + x + 2) * 3 + c]);
    }
  }
}

TEST(Scale, RefusesBoxesOutside) {
  const Picture picture = test::drawn_picture(13, 7, 1);
  for (Box box : {Box{-1, 0, 5, 5}, {0, 0, 14, 7}, {0, 0, 13, 8}, {9, 0, 5, 5}, {0, 0, 0, 5}, {2147483647, 0, 5, 5}}) {
    EXPECT_EQ(test::fault_of([&] { scale(picture, box, 8, 8); }), Fault::invalid_argument);
  }
}

TEST(Reference, SplitSumIsTheDefinition) {
  const Matrix plane = test::channel_of(test::drawn_picture(70, 41, 1), 0);
  for (int block : {8, 32, 64, 256}) {
    const Matrix blocks = test::reference_blocks(plane, Subsampling::none, block);
    const Matrix dct = test::reference_dct(blocks, block);
    const int left = blocks.width - block;
    for (auto [i, j] : {std::pair{0, 0}, {0, 1}, {2, 0}, {3, 4}, {block - 1, 0}, {block / 2, block - 1}}) {
      EXPECT_NEAR(dct.at(i, left + j), test::reference_coefficient(blocks, block, 0, left, i, j), 1e-6);
    }
  }
}

// The whole design space, at a size and at a native size with odd edges, colour and gray.
class DesignSpace : public testing::TestWithParam<std::tuple<Subsampling, int>> {};

TEST_P(DesignSpace, SizedColour) {
  const Picture photo = test::photograph();
  auto [subsampling, block] = GetParam();
  sweep(photo, 64, subsampling, block, test::reference_planes(photo, 64, 64));
}

TEST_P(DesignSpace, NativeOddGray) {
  const Picture part = test::to_gray(test::crop(test::photograph(), Box{20, 30, 61, 37}));
  auto [subsampling, block] = GetParam();
  sweep(part, 0, subsampling, block, test::reference_planes(part, 61, 37));
}

std::string design_space_name(const testing::TestParamInfo<DesignSpace::ParamType>& parameters) {
  const auto [subsampling, block] = parameters.param;
  const std::string text = to_string(Format{subsampling, block, 1, 1, 0});
  return text.substr(0, text.find('/')) + "_b" + std::to_string(block);
}

INSTANTIATE_TEST_SUITE_P(All, DesignSpace, testing::Combine(testing::ValuesIn(kSubsamplings), testing::ValuesIn(kBlocks)),
                         design_space_name);

TEST(Transform, SmallerKeptIsAPrefixBitForBit) {
  const Planes planes = to_planes(test::crop(test::photograph(), Box{0, 0, 101, 75}), 101, 75);
  for (int block : kBlocks) {
    const auto whole = transform(planes, Subsampling::rows, block, block, Interrupt{});
    const auto blocks = geometry({Subsampling::rows, block, 1, 1, 0}, 101, 75).blocks();
    for (int kept : {1, 2, 3, 5, 7, 8, block / 2, block - 1}) {
      EXPECT_EQ(transform(planes, Subsampling::rows, block, kept, Interrupt{}), prefix(whole, 3, blocks, kept));
    }
  }
}

TEST(Transform, AFlatPictureHasOnlyItsMean) {
  Picture picture{32, 32, 1, std::vector<std::uint8_t>(32 * 32, 200)};
  const auto values = encode(picture, parse_format("1x1/b32/k32/q1"), Interrupt{}).values;
  EXPECT_EQ(values[0], (200 - 128) * 32);
  EXPECT_TRUE(std::all_of(values.begin() + 1, values.end(), [](int value) { return value == 0; }));
}

TEST(Quantize, RoundsToNearestTiesToEven) {
  const std::vector<float> values = {0, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 2.51f, -2.49f, 32640, -32640.25f};
  std::vector<std::int32_t> result(values.size());
  quantize(values.data(), values.size(), 1, result.data());
  EXPECT_EQ(result, (std::vector<std::int32_t>{0, 0, 2, 2, 0, -2, -2, 3, -2, 32640, -32640}));
  quantize(values.data(), values.size(), 5, result.data());
  EXPECT_EQ(result.back(), -6528);
}

TEST(Encode, LongWorkCanBeStopped) {
  const Picture picture = test::drawn_picture(64, 64, 3);
  const Format format = parse_format("1x1/b8/k2/q20");
  const Coefficients coefficients = encode(picture, format, Interrupt{});
  EXPECT_EQ(test::fault_of([&] { encode(picture, format, test::Stop{}); }), Fault::cancelled);
  EXPECT_EQ(test::fault_of([&] { rebuild(coefficients, test::Stop{}); }), Fault::cancelled);
}

TEST(Tensor, NormalisesInsideTheTriangleOnly) {
  const Picture picture = test::drawn_picture(40, 24, 1);
  const Format format = parse_format("1x1/b8/k3/q20");
  const Coefficients coefficients = encode(picture, format, Interrupt{});
  const Geometry shape = coefficients.geometry();
  const std::size_t area = static_cast<std::size_t>(shape.tensor_area());
  const Normalisation normalisation{{10, -3, 4}, {50, 2, 0.5f}};
  std::vector<float> plain(3 * area), normalised(3 * area);
  place(coefficients, plain.data());
  place_normalised(coefficients, normalisation, normalised.data());
  for (std::size_t n = 0; n < plain.size(); ++n) {
    const std::size_t c = n / area, x = n % shape.tensor_width, y = n % area / shape.tensor_width;
    const float expected = (plain[n] - normalisation.mean[c]) / normalisation.deviation[c];
    EXPECT_NEAR(normalised[n], y % 3 + x % 3 < 3 ? expected : 0.0f, 1e-4);
  }
}

TEST(Tensor, Rgb) {
  const Picture photo = test::photograph();
  const Normalisation normalisation{{0.4f, 0.5f, 0.6f}, {0.2f, 0.3f, 0.4f}};
  for (const Picture& picture : {photo, test::to_gray(photo)}) {
    std::vector<float> tensor(3 * 32 * 32);
    place_rgb(picture, Box{0, 0, picture.width, picture.height}, 32, normalisation, tensor.data());
    for (int c = 0; c < 3; ++c) {
      const Matrix plane = test::reference_scale(test::channel_of(picture, std::min(c, picture.channels - 1)), 32, 32);
      for (std::size_t n = 0; n < plane.values.size(); ++n) {
        const double expected = (plane.values[n] / 255 - normalisation.mean[c]) / normalisation.deviation[c];
        EXPECT_NEAR(tensor[c * 1024 + n], expected, 1e-4);
      }
    }
  }
}

TEST(Tensor, Size) {
  EXPECT_EQ(tensor_size(parse_model_input("rgb@224")), (TensorSize{224, 224}));
  EXPECT_EQ(tensor_size(parse_model_input("2x2r/b32/k3/q50@256")), (TensorSize{12, 24}));
  EXPECT_EQ(tensor_size(parse_model_input("1x1/b128/k41/q50@256")), (TensorSize{82, 82}));
  EXPECT_EQ(test::fault_of([] { tensor_size(parse_model_input("1x1/b8/k3/q50")); }), Fault::invalid_argument);
}

// The picture that the coefficients describe, by the reference.
std::vector<Matrix> reference_rebuild(const Coefficients& coefficients) {
  const Geometry shape = coefficients.geometry();
  const int block = coefficients.format.block;
  const auto order = triangle(coefficients.format.kept);
  std::vector<Matrix> planes;
  auto value = coefficients.values.begin();
  for (int c = 0; c < coefficients.channels; ++c) {
    Matrix all(shape.blocks_down * block, shape.blocks_across * block);
    for (const Frequency& frequency : order) {
      for (int n = 0; n < shape.blocks(); ++n, ++value) {
        all.at(n / shape.blocks_across * block + frequency.i, n % shape.blocks_across * block + frequency.j) =
            *value * coefficients.format.quantizer;
      }
    }
    planes.push_back(test::reference_inverse(all, block));
  }
  return planes;
}

TEST(Rebuild, AgreesWithTheReferenceInverse) {
  const Picture photo = test::crop(test::photograph(), Box{10, 10, 61, 45});
  for (const Picture& picture : {photo, test::to_gray(photo)}) {
    for (const char* text : {"1x1/b8/k8/q1", "1x1/b8/k3/q20", "1x1/b32/k6/q50", "1x1/b64/k64/q1", "1x1/b16/k9/q100@40"}) {
      const Coefficients coefficients = encode(picture, parse_format(text), Interrupt{});
      const Picture rebuilt = rebuild(coefficients, Interrupt{});
      const auto planes = reference_rebuild(coefficients);
      ASSERT_EQ(rebuilt.width, coefficients.coded_width);
      ASSERT_EQ(rebuilt.height, coefficients.coded_height);
      for (int y = 0; y < rebuilt.height; ++y) {
        for (int x = 0; x < rebuilt.width; ++x) {
          const std::uint8_t* sample = &rebuilt.samples[(std::size_t(y) * rebuilt.width + x) * rebuilt.channels];
          const double luma = planes[0].at(y, x) + 128;
          if (picture.channels == 1) {
            EXPECT_NEAR(sample[0], std::clamp(luma, 0.0, 255.0), 0.51);
            continue;
          }
          const double red = luma + 1.402 * planes[2].at(y, x), blue = luma + 1.772 * planes[1].at(y, x);
          const double green = (luma - 0.299 * red - 0.114 * blue) / 0.587;
          EXPECT_NEAR(sample[0], std::clamp(red, 0.0, 255.0), 0.51);
          EXPECT_NEAR(sample[1], std::clamp(green, 0.0, 255.0), 0.51);
          EXPECT_NEAR(sample[2], std::clamp(blue, 0.0, 255.0), 0.51);
        }
      }
    }
  }
}

// A slope has nothing outside the triangle but rounding, so dropped rows and columns come back between their neighbours.
TEST(Rebuild, InterpolatesWhatWasSubsampled) {
  Picture slope{64, 48, 1, {}};
  for (int y = 0; y < 48; ++y) {
    for (int x = 0; x < 64; ++x) slope.samples.push_back(static_cast<std::uint8_t>(20 + 2 * x + y));
  }
  for (const char* text : {"2x2r/b8/k8/q1", "2x2c/b8/k8/q1", "4x4/b8/k8/q1"}) {
    const Picture rebuilt = rebuild(encode(slope, parse_format(text), Interrupt{}), Interrupt{});
    for (int y = 0; y < 47; ++y) {
      for (int x = 0; x < 63; ++x) EXPECT_NEAR(rebuilt.samples[y * 64 + x], slope.samples[y * 64 + x], 1.01) << text;
    }
    for (int x = 0; x < 64; ++x) EXPECT_NEAR(rebuilt.samples[47 * 64 + x], slope.samples[47 * 64 + x], 3.01) << text;
  }
}

}  // namespace
}  // namespace imagecalc
