// JPEG files: real ones, odd ones, damaged ones.
#include <gtest/gtest.h>

#include <cstdio>
#include <sstream>

#include <jpeglib.h>

#include "codec/picture.h"
#include "pictures.h"

namespace imagecalc {
namespace {

using File = std::vector<std::uint8_t>;

Picture read(Bytes file, const Limits& limits = {}) { return read_picture(file, limits, Interrupt{}); }

Fault read_fault(Bytes file, const Limits& limits = {}) {
  return test::fault_of([&] { read(file, limits); });
}

double mean_difference(const Picture& a, const Picture& b) {
  EXPECT_EQ(a.samples.size(), b.samples.size());
  double sum = 0;
  for (std::size_t n = 0; n < a.samples.size(); ++n) sum += std::abs(a.samples[n] - b.samples[n]);
  return sum / a.samples.size();
}

// A JPEG file as an encoder other than ours may write it. samples: interleaved, in the colour space given.
File compress(const Picture& picture, J_COLOR_SPACE space, void (*adjust)(j_compress_ptr)) {
  jpeg_error_mgr errors;
  jpeg_compress_struct info;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = picture.width;
  info.image_height = picture.height;
  info.input_components = picture.channels;
  info.in_color_space = space;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 95, TRUE);
  adjust(&info);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    const std::size_t at = std::size_t(info.next_scanline) * picture.width * picture.channels;
    auto* row = const_cast<JSAMPROW>(picture.samples.data() + at);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  File file(buffer, buffer + size);
  std::free(buffer);
  return file;
}

File progressive(const Picture& picture) { return compress(picture, JCS_RGB, jpeg_simple_progression); }

// Each component in a scan of its own.
File separate_scans(const Picture& picture) {
  return compress(picture, JCS_RGB, [](j_compress_ptr info) {
    static const jpeg_scan_info scans[] = {{1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}};
    info->scan_info = scans;
    info->num_scans = 3;
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
        EXPECT_TRUE(error.fault() == Fault::bad_picture || size < 2) << error.what();
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
    EXPECT_EQ(test::fault_of([&] { read_picture(file, Limits{}, test::Stop{}); }), Fault::cancelled);
  }
}

TEST(Jpeg, OtherFilesAreNamed) {
  auto bytes = [](std::string text) { return File(text.begin(), text.end()); };
  const File png = bytes("\x89PNG\r\n\x1A\n and more"), webp = bytes("RIFF1234WEBPVP8 ");
  const std::pair<File, const char*> cases[] = {
      {png, "PNG"}, {webp, "WebP"}, {bytes("GIF89a"), "not a JPEG"}, {File{}, "not a JPEG"}};
  for (const auto& [file, name] : cases) {
    try {
      read(file);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::unsupported_picture);
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
      EXPECT_NE(error.hint(), "");
    }
  }
  EXPECT_TRUE(looks_like_picture(png));
  EXPECT_TRUE(looks_like_picture(webp));
  EXPECT_TRUE(looks_like_picture(write_jpeg(test::drawn_picture(8, 8, 1), 50)));
  EXPECT_FALSE(looks_like_picture(bytes("\x1C\x01 an icimage value")));
  EXPECT_FALSE(looks_like_picture({}));
}

// Every file that a plain decoder takes without a warning must decode; the others decode or are a clean error.
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
    try {
      const Picture picture = read(test::read_file(folder / name));
      EXPECT_EQ(picture.width, std::stoi(width)) << name;
      EXPECT_EQ(picture.height, std::stoi(height)) << name;
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
