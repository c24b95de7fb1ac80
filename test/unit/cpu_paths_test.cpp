// The same bits on every CPU path. A path that this CPU lacks is not tested here.
#include "codec/cpu.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "codec/encode.h"
#include "codec/matrix.h"
#include "codec/tensor.h"
#include "codec/transform.h"
#include "jpeg_files.h"
#include "pictures.h"

namespace imagecalc {
namespace {

// Goes back to the best path, whatever the test does.
class CpuPaths : public testing::Test {
 protected:
  void TearDown() override { force_cpu_path(""); }
};

template <class Value>
std::string bytes_of(const std::vector<Value>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Value)};
}

// What work returns is the same on all paths.
void expect_same(const std::function<std::string()>& work, const std::string& what) {
  const std::vector<std::string> paths = cpu_paths();
  force_cpu_path(paths.front());
  const std::string best = work();
  EXPECT_FALSE(best.empty());
  for (const std::string& path : paths) {
    force_cpu_path(path);
    EXPECT_TRUE(work() == best) << what << " differs between " << path << " and " << paths.front();
  }
}

TEST_F(CpuPaths, AreListedAndForced) {
  const auto paths = cpu_paths();
  ASSERT_GE(paths.size(), 1u);
  for (const std::string& path : paths) EXPECT_NO_THROW(force_cpu_path(path));
  EXPECT_EQ(cpu_paths(), paths);
  EXPECT_EQ(test::fault_of([] { force_cpu_path("abacus"); }), Fault::invalid_argument);
}

TEST_F(CpuPaths, Multiply) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (const int rows : {1, 2, 3, 4, 5, 11}) {
    for (const int inner : {0, 1, 7, 40}) {
      for (const int columns : {1, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 70}) {
        std::vector<float> a(std::size_t(rows) * (inner + 2)), b(std::size_t(inner) * (columns + 3));
        for (float& value : a) value = normal(random);
        for (float& value : b) value = normal(random);
        const auto product = [&] {
          std::vector<float> out(std::size_t(rows) * (columns + 1), 5.0f);
          multiply(a.data(), inner + 2, b.data(), columns + 3, rows, inner, columns, out.data(), columns + 1);
          return out;
        };
        std::vector<float> expected(std::size_t(rows) * (columns + 1), 5.0f);
        for (int y = 0; y < rows; ++y) {
          for (int x = 0; x < columns; ++x) {
            volatile float sum = 0;  // nothing may be fused
            for (int n = 0; n < inner; ++n) {
              volatile float term = a[std::size_t(y) * (inner + 2) + n] * b[std::size_t(n) * (columns + 3) + x];
              sum = sum + term;
            }
            expected[std::size_t(y) * (columns + 1) + x] = sum;
          }
        }
        EXPECT_EQ(product(), expected);
        expect_same([&] { return bytes_of(product()); }, "the product");
      }
    }
  }
}

TEST_F(CpuPaths, TransformAndRebuild) {
  const Picture photo = test::crop(test::photograph(), Box{3, 5, 119, 83});
  for (const Picture& picture : {photo, test::to_gray(photo)}) {
    for (const int block : kBlocks) {
      for (const int kept : {1, 2, 3, 5, 8, 13, 31, 33, 64, 127, 256}) {
        if (kept > block) break;
        for (const int size : {0, 72}) {
          const auto subsampling = static_cast<Subsampling>((kept + size) % 4);
          const Format format{subsampling, block, kept, 3, size};
          const Box box{0, 0, picture.width, picture.height};
          expect_same([&] { return bytes_of(encode(picture, format, Interrupt{}).values); }, to_string(format));
          expect_same([&] { return bytes_of(transform(picture, box, subsampling, block, kept, Interrupt{})); }, "floats");
          if (kept % 2 == 0) continue;
          const Coefficients coefficients = encode(picture, format, Interrupt{});
          expect_same([&] { return bytes_of(rebuild(coefficients, Interrupt{}).samples); }, "the rebuilt picture");
        }
      }
    }
  }
}

TEST_F(CpuPaths, NarrowPictures) {
  for (const auto& [width, height] : {std::pair{1, 1}, {1, 40}, {40, 1}, {5, 3}, {10, 9}, {11, 33}, {31, 2}, {33, 65}}) {
    for (const int channels : {1, 3}) {
      const Picture picture = test::drawn_picture(width, height, channels);
      for (const int block : kBlocks) {
        const Format format{Subsampling::both, block, block / 2 + 1, 2, 0};
        expect_same([&] { return bytes_of(rebuild(encode(picture, format, Interrupt{}), Interrupt{}).samples); },
                    to_string(format));
      }
    }
  }
}

TEST_F(CpuPaths, Scale) {
  const Picture photo = test::photograph();
  for (const Picture& picture : {photo, test::to_gray(photo)}) {
    for (const auto& [width, height] : {std::pair{64, 64}, {61, 37}, {8, 104}, {300, 3}, {photo.width, 50}}) {
      expect_same([&, to_width = width, to_height = height] {
        return bytes_of(scale(picture, Box{0, 0, picture.width, picture.height}, to_width, to_height).samples);
      }, "the scaled picture");
    }
  }
}

TEST_F(CpuPaths, JpegFiles) {
  for (const test::Sampling sampling : {test::Sampling{1, 1}, {2, 2}, {4, 1}, {1, 4}, {3, 1}, {1, 3}, {4, 2}}) {
    for (const int channels : {1, 3}) {
      const auto file = test::compress(test::outlines(203, 117, channels), 30, sampling);
      for (const char* text : {"1x1/b32/k32/q1", "4x4/b8/k5/q2@64"}) {
        expect_same([&] {
          return bytes_of(encode_file(file, parse_format(text), Limits{}, Interrupt{}).values);
        }, "a JPEG file's " + std::string(text));
      }
    }
  }
}

TEST_F(CpuPaths, Tensors) {
  const Coefficients coefficients = encode(test::photograph(), parse_format("2x2c/b16/k5/q20@64"), Interrupt{});
  const Geometry shape = coefficients.geometry();
  const Normalisation normalisation{{10, -3, 4}, {50, 2, 0.5f}};
  expect_same([&] {
    std::vector<float> tensor(3 * static_cast<std::size_t>(shape.tensor_area()));
    place_normalised(coefficients, normalisation, tensor.data());
    return bytes_of(tensor);
  }, "the tensor");
}

}  // namespace
}  // namespace imagecalc
