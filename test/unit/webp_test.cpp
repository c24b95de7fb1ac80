// WebP files: lossy, lossless, transparent, animated; damaged ones.
#include <gtest/gtest.h>
#include <webp/encode.h>

#include "codec/picture.h"
#include "file_maker.h"
#include "pictures.h"

namespace imagecalc {
namespace {

using test::File;

Picture read(Bytes file, const Limits& limits = {}) { return read_picture(file, limits, Interrupt{}); }

Fault read_fault(Bytes file, const Limits& limits = {}) {
  return test::fault_of([&] { read(file, limits); });
}

// Of a picture with three channels, or four: RGB and alpha. quality -1: lossless.
File webp_of(const Picture& picture, float quality = -1) {
  std::uint8_t* out = nullptr;
  const std::uint8_t* samples = picture.samples.data();
  const int width = picture.width, height = picture.height, stride = width * picture.channels;
  std::size_t size;
  if (picture.channels == 3) {
    size = quality < 0 ? WebPEncodeLosslessRGB(samples, width, height, stride, &out)
                       : WebPEncodeRGB(samples, width, height, stride, quality, &out);
  } else {
    size = quality < 0 ? WebPEncodeLosslessRGBA(samples, width, height, stride, &out)
                       : WebPEncodeRGBA(samples, width, height, stride, quality, &out);
  }
  File file(out, out + size);
  WebPFree(out);
  return file;
}

// The same pixels over white, worked out in double.
Picture over_white(const Picture& rgba) {
  Picture flat{rgba.width, rgba.height, 3, {}};
  for (std::size_t n = 0; n < rgba.samples.size(); n += 4) {
    const double alpha = rgba.samples[n + 3] / 255.0;
    for (std::size_t c = 0; c < 3; ++c) {
      flat.samples.push_back(static_cast<std::uint8_t>(std::lround(rgba.samples[n + c] * alpha + 255 * (1 - alpha))));
    }
  }
  return flat;
}

double rms_difference(const Picture& a, const Picture& b) {
  EXPECT_EQ(a.samples.size(), b.samples.size());
  double sum = 0;
  for (std::size_t n = 0; n < a.samples.size(); ++n) sum += std::pow(a.samples[n] - b.samples[n], 2);
  return std::sqrt(sum / static_cast<double>(a.samples.size()));
}

// Smooth, so that chroma at half the resolution is no loss.
Picture smooth_picture(int width, int height, int channels) {
  Picture picture{width, height, channels, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        picture.samples.push_back(static_cast<std::uint8_t>(128 + 100 * std::sin(0.03 * x + 0.04 * y + 2 * c)));
      }
    }
  }
  return picture;
}

// A frame of an animation; where it lies is in units of two pixels.
File frame_chunk(const Picture& picture, std::uint32_t left, std::uint32_t top) {
  return test::riff_chunk(
      "ANMF", test::joined({test::little_endian(left / 2, 3), test::little_endian(top / 2, 3),
                            test::little_endian(static_cast<std::uint32_t>(picture.width - 1), 3),
                            test::little_endian(static_cast<std::uint32_t>(picture.height - 1), 3),
                            test::little_endian(100, 3), {0}, test::webp_chunks(webp_of(picture))}));
}

File animation(std::uint32_t width, std::uint32_t height, const std::vector<File>& frames) {
  File all;
  for (const File& frame : frames) test::append(all, frame);
  return test::webp_file({test::webp_canvas(test::kWebpAnimation | test::kWebpAlpha, width, height),
                          test::riff_chunk("ANIM", File(6)), all});
}

TEST(Webp, LosslessIsExact) {
  const Picture photo = test::photograph();
  for (const Picture& picture : {photo, test::drawn_picture(1, 1, 3), test::drawn_picture(3, 50, 3)}) {
    const Picture again = read(webp_of(picture));
    EXPECT_EQ(again.width, picture.width);
    EXPECT_EQ(again.height, picture.height);
    EXPECT_EQ(again.channels, 3);
    EXPECT_EQ(again.samples, picture.samples);
  }
}

TEST(Webp, LossyIsNear) {
  const Picture smooth = smooth_picture(300, 200, 3);
  EXPECT_LT(rms_difference(read(webp_of(smooth, 95)), smooth), 2);
  const Picture photo = test::photograph();
  EXPECT_LT(rms_difference(read(webp_of(photo, 95)), photo), 6);
  EXPECT_GT(rms_difference(read(webp_of(photo, 1)), photo), 2);
}

// Noise does not compress: the file is decoded in many pieces.
TEST(Webp, ALargeFileIsReadInPieces) {
  Picture noise{700, 500, 3, {}};
  std::mt19937 random(1);
  for (int n = 0; n < 700 * 500 * 3; ++n) noise.samples.push_back(static_cast<std::uint8_t>(random()));
  const File lossless = webp_of(noise), lossy = webp_of(noise, 100);
  ASSERT_GT(lossless.size(), 600'000u);
  ASSERT_GT(lossy.size(), 200'000u);
  EXPECT_EQ(read(lossless).samples, noise.samples);
  EXPECT_LT(rms_difference(read(lossy), noise), 80);  // chroma is halved
  EXPECT_EQ(read_fault(Bytes(lossy).first(lossy.size() / 2)), Fault::bad_picture);
}

TEST(Webp, TransparencyLiesOverWhite) {
  const Picture rgba = test::drawn_picture(61, 47, 4);
  EXPECT_EQ(read(webp_of(rgba)).samples, over_white(rgba).samples);
  const Picture smooth = smooth_picture(300, 200, 4);
  EXPECT_LT(rms_difference(read(webp_of(smooth, 95)), over_white(smooth)), 3);
}

TEST(Webp, OfAnAnimationTheFirstFrameIsRead) {
  const Picture whole = test::drawn_picture(40, 30, 3), part = test::drawn_picture(12, 8, 4, 2);
  const File later = frame_chunk(test::drawn_picture(40, 30, 3, 7), 0, 0);
  EXPECT_EQ(read(animation(40, 30, {frame_chunk(whole, 0, 0), later})).samples, whole.samples);

  const Picture placed = read(animation(40, 30, {frame_chunk(part, 10, 6), later}));
  ASSERT_EQ(placed.width, 40);
  ASSERT_EQ(placed.height, 30);
  EXPECT_EQ(test::crop(placed, {10, 6, 12, 8}).samples, over_white(part).samples);
  EXPECT_EQ(test::crop(placed, {0, 0, 40, 6}).samples, File(40 * 6 * 3, 255));
  EXPECT_EQ(test::crop(placed, {22, 6, 18, 24}).samples, File(18 * 24 * 3, 255));

  EXPECT_EQ(read_fault(animation(40, 30, {frame_chunk(part, 30, 6)})), Fault::bad_picture);
  EXPECT_EQ(read_fault(animation(40, 30, {})), Fault::bad_picture);
  EXPECT_EQ(read_fault(animation(60000, 60000, {frame_chunk(whole, 0, 0)})), Fault::limit_exceeded);
}

std::vector<File> small_files() {
  const Picture rgb = test::drawn_picture(20, 17, 3), rgba = test::drawn_picture(20, 17, 4);
  return {webp_of(rgb), webp_of(rgb, 50), webp_of(rgba), webp_of(rgba, 50), animation(24, 20, {frame_chunk(rgba, 2, 2)})};
}

TEST(Webp, EveryTruncationIsAnError) {
  for (const File& file : small_files()) {
    const Picture whole = read(file);
    for (std::size_t size = 12; size < file.size(); ++size) {
      ASSERT_EQ(read_fault(Bytes(file).first(size)), Fault::bad_picture) << size << " of " << file.size();
    }
  }
}

TEST(Webp, EveryFlippedBitIsAnErrorOrAPicture) {
  for (const File& file : small_files()) test::expect_picture_or_error_with_flipped_bits(file);
}

TEST(Webp, ALyingLengthIsAnErrorOrAPicture) {
  for (const File& file : small_files()) {
    for (std::uint32_t length = 0; length < file.size(); ++length) {
      File lying = file;
      const File bytes = test::little_endian(length);
      std::copy(bytes.begin(), bytes.end(), lying.begin() + 4);
      if (length + 8 < file.size()) {
        test::expect_picture_or_error(lying);
      } else if (length + 8 > file.size()) {
        EXPECT_EQ(read_fault(lying), Fault::bad_picture);
      }
    }
    File lying = file;
    std::fill_n(lying.begin() + 4, 4, 0xFF);
    EXPECT_EQ(read_fault(lying), Fault::bad_picture);
  }
}

TEST(Webp, AHugeClaimIsRefused) {
  // A still picture must be as large as its canvas.
  const File picture = test::webp_chunks(webp_of(test::drawn_picture(8, 8, 3)));
  EXPECT_EQ(read_fault(test::webp_file({test::webp_canvas(0, 60000, 60000), picture})), Fault::bad_picture);
  // The largest of a lossless picture's own header: 16384 x 16384.
  File largest = webp_of(test::drawn_picture(8, 8, 3));
  for (std::size_t n = 21; n < 24; ++n) largest[n] = 0xFF;
  largest[24] |= 0x0F;
  EXPECT_EQ(read_fault(largest), Fault::limit_exceeded);

  const File small = webp_of(test::drawn_picture(16, 16, 3));
  EXPECT_NO_THROW(read(small, Limits{256, 1}));
  EXPECT_EQ(read_fault(small, Limits{255, 1}), Fault::limit_exceeded);
}

TEST(Webp, CanBeStopped) {
  for (const File& file : small_files()) {
    EXPECT_EQ(test::fault_of([&] { read_picture(file, Limits{}, test::Stop{}); }), Fault::cancelled);
  }
}

}  // namespace
}  // namespace imagecalc
