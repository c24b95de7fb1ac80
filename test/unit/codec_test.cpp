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

Planes to_planes(const Picture& picture, int width, int height) {
  return scale(picture, Box{0, 0, picture.width, picture.height}, width, height);
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

double worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (std::size_t n = 0; n < a.size(); ++n) worst = std::max(worst, std::abs(double{a[n]} - b[n]));
  return worst;
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

TEST(Transform, SmallerKeptIsAPrefixButForRounding) {
  const Picture part = test::crop(test::photograph(), Box{0, 0, 101, 75});
  const Planes planes = to_planes(part, 101, 75);
  for (int block : kBlocks) {
    const auto whole = transform(planes, Subsampling::rows, block, block, Interrupt{});
    const auto blocks = geometry({Subsampling::rows, block, 1, 1, 0}, 101, 75).blocks();
    for (int kept : {1, 2, 3, 5, 7, 8, block / 2, block - 1}) {
      const auto some = transform(planes, Subsampling::rows, block, kept, Interrupt{});
      EXPECT_LT(worst_difference(some, prefix(whole, 3, blocks, kept)), 0.05) << block << " " << kept;
    }
  }
}

TEST(Transform, SamplesAndPlanesGiveTheSame) {
  const Picture photo = test::photograph();
  const Box box{5, 9, 99, 57};
  for (const Picture& picture : {photo, test::to_gray(photo)}) {
    const Planes planes = to_planes(test::crop(picture, box), box.width, box.height);
    for (int block : {8, 64}) {
      EXPECT_EQ(transform(picture, box, Subsampling::both, block, 7, Interrupt{}),
                transform(planes, Subsampling::both, block, 7, Interrupt{}));
    }
  }
}

TEST(Transform, RefusesBoxesOutside) {
  const Picture picture = test::drawn_picture(13, 7, 3);
  const auto work = [&] { transform(picture, Box{9, 0, 5, 5}, Subsampling::none, 8, 8, Interrupt{}); };
  EXPECT_EQ(test::fault_of(work), Fault::invalid_argument);
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

// One row of blocks is all of this picture.
TEST(Rebuild, AsksForEachRowWhetherToStop) {
  struct Counter : Interrupt {
    bool requested() const noexcept override { return ++count == 0; }
    mutable int count = 0;
  };
  for (const int channels : {1, 3}) {
    const Picture picture = test::drawn_picture(16, 200, channels);
    const Counter counter;
    rebuild(encode(picture, parse_format("1x1/b256/k1/q20"), Interrupt{}), counter);
    EXPECT_GE(counter.count, 200 * (channels + 1));
  }
}

TEST(Encode, DescribesWhatItStores) {
  const Coefficients native = describe(parse_format("1x1/b8/k2/q20"), 1, 65535, 9);
  EXPECT_EQ(native.channels, 1);
  EXPECT_EQ(native.coded_width, 65535);
  EXPECT_EQ(native.coded_height, 9);
  const Coefficients scaled = describe(parse_format("1x1/b8/k2/q20@64"), 3, 70000, 9);
  EXPECT_EQ(scaled.coded_width, 64);
  EXPECT_EQ(scaled.coded_height, 64);
  EXPECT_EQ(scaled.source_width, 70000u);
  EXPECT_EQ(scaled.source_height, 9u);
  for (const auto& [width, height] : {std::pair{65536, 9}, {9, 65536}}) {
    EXPECT_EQ(test::fault_of([&] { describe(native.format, 3, width, height); }), Fault::limit_exceeded);
  }
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
