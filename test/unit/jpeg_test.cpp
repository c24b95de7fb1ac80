// JPEG files: real ones, odd ones, damaged ones.
#include <gtest/gtest.h>

#include <sstream>

#include "codec/jpeg.h"
#include "jpeg_files.h"
#include "pictures.h"

namespace imagecalc {
namespace {

using File = std::vector<std::uint8_t>;

Picture read(Bytes file, const Limits& limits = {}) { return read_jpeg(file, limits, Interrupt{}); }

Fault read_fault(Bytes file, const Limits& limits = {}) {
  return test::fault_of([&] { read(file, limits); });
}

double mean_difference(const Picture& a, const Picture& b) {
  EXPECT_EQ(a.samples.size(), b.samples.size());
  double sum = 0;
  for (std::size_t n = 0; n < a.samples.size(); ++n) sum += std::abs(a.samples[n] - b.samples[n]);
  return sum / a.samples.size();
}

using test::compress;

File progressive(const Picture& picture) { return compress(picture, JCS_RGB, jpeg_simple_progression); }

// Each component in a scan of its own.
File separate_scans(const Picture& picture) {
  return compress(picture, JCS_RGB, [](j_compress_ptr info) {
    static const jpeg_scan_info scans[] = {{1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}};
    info->scan_info = scans;
    info->num_scans = 3;
  });
}

File arithmetic(const Picture& picture) {
  return compress(picture, JCS_RGB, [](j_compress_ptr info) { info->arith_code = TRUE; });
}

File progressive_arithmetic(const Picture& picture) {
  return compress(picture, JCS_RGB, [](j_compress_ptr info) {
    info->arith_code = TRUE;
    jpeg_simple_progression(info);
  });
}

// Where the frame header says height and width.
std::size_t find_frame(const File& file) {
  for (std::size_t n = 2; n + 8 < file.size(); n += 2 + (file[n + 2] << 8 | file[n + 3])) {
    if (file[n + 1] >= 0xC0 && file[n + 1] <= 0xC2) return n + 5;
  }
  ADD_FAILURE() << "no frame header";
  return 0;
}

TEST(Jpeg, WhatIsWrittenReadsBack) {
  const Picture photo = test::photograph();
  for (const Picture& picture : {photo, test::to_gray(photo)}) {
    const Picture again = read(write_jpeg(picture, 95));
    EXPECT_EQ(again.width, picture.width);
    EXPECT_EQ(again.height, picture.height);
    EXPECT_EQ(again.channels, picture.channels);
    EXPECT_LT(mean_difference(again, picture), picture.channels == 1 ? 4 : 12);  // chroma is halved
    EXPECT_LT(write_jpeg(picture, 10).size(), write_jpeg(picture, 95).size());
  }
  for (int quality : {0, 101}) EXPECT_EQ(test::fault_of([&] { write_jpeg(photo, quality); }), Fault::invalid_argument);
  EXPECT_EQ(test::fault_of([] { write_jpeg(Picture{}, 50); }), Fault::invalid_argument);
  EXPECT_EQ(test::fault_of([] { write_jpeg(test::drawn_picture(65501, 1, 1), 50); }), Fault::limit_exceeded);
}

TEST(Jpeg, LargeFilesGrowTheirBuffer) {
  Picture noise{700, 500, 3, {}};
  std::mt19937 random(1);
  for (int n = 0; n < 700 * 500 * 3; ++n) noise.samples.push_back(static_cast<std::uint8_t>(random()));
  const File file = write_jpeg(noise, 100);
  EXPECT_GT(file.size(), 256u << 10);
  EXPECT_EQ(read(file).width, 700);
}

TEST(Jpeg, ProgressiveAndSeparateScansAreTheSamePicture) {
  const Picture picture = test::drawn_picture(123, 77, 3);
  const Picture baseline = read(compress(picture, JCS_RGB, [](j_compress_ptr) {}));
  EXPECT_EQ(read(progressive(picture)).samples, baseline.samples);
  EXPECT_EQ(read(separate_scans(picture)).samples, baseline.samples);
}

TEST(Jpeg, EverySamplingIsReadAsDjpegDoes) {
  const Picture picture = test::drawn_picture(203, 117, 3);
  for (const test::Sampling sampling : test::kSamplings) {
    const File file = compress(picture, 80, sampling);
    for (const Upsampling upsampling : {Upsampling::smooth, Upsampling::repeated}) {
      const auto plain = test::decode_plainly(file, upsampling == Upsampling::smooth);
      ASSERT_TRUE(plain);
      EXPECT_EQ(read_jpeg(file, Limits{}, Interrupt{}, upsampling).samples, plain->samples)
          << sampling.across << " x " << sampling.down;
    }
  }
}

TEST(Jpeg, EveryCodingIsTheSamePicture) {
  const Picture picture = test::drawn_picture(123, 77, 3);
  const Picture baseline = read(compress(picture, JCS_RGB, [](j_compress_ptr) {}));
  const File restarts = compress(picture, JCS_RGB, [](j_compress_ptr info) { info->restart_interval = 3; });
  for (const File& file : {restarts, arithmetic(picture), progressive_arithmetic(picture)}) {
    EXPECT_EQ(read(file).samples, baseline.samples);
  }
}

TEST(Jpeg, RgbIsTakenAsItIs) {
  const Picture picture = test::drawn_picture(50, 40, 3);
  const File file = compress(picture, JCS_RGB, [](j_compress_ptr info) {
    jpeg_set_colorspace(info, JCS_RGB);
    jpeg_set_quality(info, 100, TRUE);
  });
  EXPECT_LT(mean_difference(read(file), picture), 1);
  EXPECT_FALSE(JpegFile(file, Limits{}, Interrupt{}).has_jfif_planes());
}

TEST(Jpeg, TwoComponentsAreNoPicture) {
  const File file = compress(test::drawn_picture(16, 16, 2), JCS_UNKNOWN, [](j_compress_ptr) {});
  EXPECT_EQ(read_fault(file), Fault::unsupported_picture);
}

// An arithmetic decoder cannot tell where its data end: a file without its end marker is whole if nothing else is missing.
// The very last bytes may hold nothing that counts.
TEST(Jpeg, ArithmeticFilesMayLackTheirEndMarker) {
  const Picture picture = test::drawn_picture(64, 48, 3);
  for (const File& file : {arithmetic(picture), progressive_arithmetic(picture)}) {
    const Picture whole = read(file);
    EXPECT_EQ(read(Bytes(file).first(file.size() - 2)).samples, whole.samples);
    for (std::size_t size = 0; size + 16 < file.size(); ++size) {
      EXPECT_EQ(read_fault(Bytes(file).first(size)), Fault::bad_picture) << size << " of " << file.size();
    }
  }
}

// The memory for coefficients goes from picture to picture: nothing of one may be seen in the next.
TEST(Jpeg, PicturesDoNotShareTheirCoefficients) {
  const File large = progressive(test::drawn_picture(300, 200, 3, 1));
  const File small = progressive(test::drawn_picture(64, 48, 3, 2));
  const std::vector<std::uint8_t> expected = read(small).samples;
  const Limits limits;
  const Interrupt interrupt;
  JpegFile open(small, limits, interrupt);
  read(large);
  EXPECT_EQ(test::fault_of([&] { read(Bytes(large).first(large.size() / 2)); }), Fault::bad_picture);
  EXPECT_EQ(open.read_pixels(Upsampling::smooth).samples, expected);
  EXPECT_EQ(read(small).samples, expected);
}

// Adobe's way: 255 is no ink. The marker is what tells.
TEST(Jpeg, CmykBecomesRgb) {
  Picture ink{16, 16, 4, {}};
  for (int n = 0; n < 16 * 16; ++n) ink.samples.insert(ink.samples.end(), {200, 100, 255, 128});
  const Picture adobe = read(compress(ink, JCS_CMYK, [](j_compress_ptr) {}));
  const Picture ycck = read(compress(ink, JCS_CMYK, [](j_compress_ptr info) { jpeg_set_colorspace(info, JCS_YCCK); }));
  const Picture plain = read(compress(ink, JCS_CMYK, [](j_compress_ptr info) { info->write_Adobe_marker = FALSE; }));
  ASSERT_EQ(adobe.channels, 3);
  for (int c = 0; c < 3; ++c) {
    const int stored = ink.samples[c];
    EXPECT_NEAR(adobe.samples[c], stored * 128 / 255, 2);
    EXPECT_NEAR(ycck.samples[c], stored * 128 / 255, 3);
    EXPECT_NEAR(plain.samples[c], (255 - stored) * 127 / 255, 2);
  }
}

TEST(Jpeg, EveryTruncationIsAnError) {
  const Picture picture = test::drawn_picture(64, 48, 3);
  for (const File& file : {write_jpeg(picture, 75), progressive(picture), separate_scans(picture)}) {
    const Picture whole = read(file);
    for (std::size_t size = 0; size < file.size(); ++size) {
      try {
        // Only the end marker, and padding that no sample needs, may be missing.
        EXPECT_EQ(read(Bytes(file).first(size)).samples, whole.samples) << size << " of " << file.size();
        EXPECT_GE(size + 4, file.size());
      } catch (const Error& error) {
        EXPECT_EQ(error.fault(), Fault::bad_picture) << error.what();
      }
    }
    EXPECT_NO_THROW(read(Bytes(file).first(file.size() - 2)));
  }
}

TEST(Jpeg, FlippedBitsAreAnErrorOrAPicture) {
  std::mt19937 random(5);
  const Picture picture = test::drawn_picture(64, 48, 3);
  for (const File& file : {write_jpeg(picture, 75), progressive(picture), separate_scans(picture)}) {
    for (int round = 0; round < 1500; ++round) {
      File damaged = file;
      for (int n = 0; n < 1 + round % 3; ++n) {
        damaged[random() % damaged.size()] ^= static_cast<std::uint8_t>(1 << random() % 8);
      }
      try {
        const Picture read_back = read(damaged, Limits{1'000'000, 20});
        EXPECT_EQ(read_back.samples.size(), std::size_t(read_back.width) * read_back.height * read_back.channels);
      } catch (const Error& error) {
        EXPECT_NE(error.fault(), Fault::internal) << error.what();
      }
    }
  }
}

TEST(Jpeg, AHugeClaimCostsNothing) {
  File file = write_jpeg(test::drawn_picture(16, 16, 3), 75);
  const std::size_t frame = find_frame(file);
  for (std::size_t n = 0; n < 4; ++n) file[frame + n] = n % 2 == 0 ? 0xEA : 0x60;  // 60000 x 60000
  EXPECT_EQ(read_fault(file), Fault::limit_exceeded);
  EXPECT_EQ(read_fault(file, Limits{std::int64_t{1} << 40, 100}), Fault::bad_picture);
  const File small = write_jpeg(test::drawn_picture(16, 16, 3), 75);
  EXPECT_EQ(read_fault(small, Limits{255, 100}), Fault::limit_exceeded);
  EXPECT_NO_THROW(read(small, Limits{256, 100}));
}

TEST(Jpeg, ScansAreCounted) {
  const File file = progressive(test::drawn_picture(64, 48, 3));  // 10 scans
  EXPECT_NO_THROW(read(file, Limits{1'000'000, 10}));
  EXPECT_EQ(read_fault(file, Limits{1'000'000, 9}), Fault::limit_exceeded);
}

TEST(Jpeg, CanBeStopped) {
  const Picture picture = test::drawn_picture(64, 48, 3);
  for (const File& file : {write_jpeg(picture, 75), progressive(picture)}) {
    EXPECT_EQ(test::fault_of([&] { read_jpeg(file, Limits{}, test::Stop{}); }), Fault::cancelled);
  }
  EXPECT_EQ(test::fault_of([&] { write_jpeg(picture, 75, test::Stop{}); }), Fault::cancelled);
}

// What CMYK is taken for: each ink takes its share of the light away. Adobe's files hold the light that is left.
Picture cmyk_to_rgb(const Picture& cmyk, bool inverted) {
  Picture rgb{cmyk.width, cmyk.height, 3, {}};
  for (std::size_t n = 0; n < cmyk.samples.size(); n += 4) {
    const auto light = [&](int c) { return inverted ? cmyk.samples[n + c] : 255 - cmyk.samples[n + c]; };
    for (int c = 0; c < 3; ++c) rgb.samples.push_back(static_cast<std::uint8_t>(std::lround(light(c) * light(3) / 255.0)));
  }
  return rgb;
}

// A marker's name, which follows it in the file.
bool has_marker(const File& file, const std::string& name) {
  return std::search(file.begin(), file.end(), name.begin(), name.end()) != file.end();
}

void expect_as_djpeg(const std::string& name, const File& file, const Picture& picture) {
  const auto plain = test::decode_plainly(file, true);
  ASSERT_TRUE(plain) << name;
  const Picture expected = plain->channels == 4 ? cmyk_to_rgb(*plain, has_marker(file, "Adobe")) : *plain;
  EXPECT_EQ(picture.channels, expected.channels) << name;
  EXPECT_EQ(picture.samples, expected.samples) << name;
}

// Every file that a plain decoder takes without a warning is the same picture; the others are a picture or a clean error.
TEST(Jpeg, Corpus) {
  const auto folder = test::data_folder() / "jpeg_corpus";
  std::ifstream index(folder / "index.csv");
  if (!index) GTEST_SKIP() << "no corpus at " << folder;
  std::string line;
  std::getline(index, line);
  int decoded = 0, refused = 0;
  while (std::getline(index, line)) {
    std::istringstream fields(line);
    std::string name, verdict, width, height;
    for (std::string* field : {&name, &verdict, &width, &height}) std::getline(fields, *field, ',');
    const File file = test::read_file(folder / name);
    try {
      const Picture picture = read(file);
      EXPECT_EQ(std::to_string(picture.width) + "," + std::to_string(picture.height), width + "," + height) << name;
      if (verdict == "ok") expect_as_djpeg(name, file, picture);
      ++decoded;
    } catch (const Error& error) {
      EXPECT_NE(verdict, "ok") << name << ": " << error.what();
      EXPECT_TRUE(error.fault() == Fault::bad_picture || error.fault() == Fault::unsupported_picture ||
                  error.fault() == Fault::limit_exceeded)
          << name << ": " << error.what();
      ++refused;
    }
  }
  EXPECT_GT(decoded, 100);
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace imagecalc
