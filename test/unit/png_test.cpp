// PNG files of every kind, put together sample by sample; damaged ones; bombs.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

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

enum Color { kGray = 0, kRgb = 2, kPalette = 3, kGrayAlpha = 4, kRgba = 6 };

struct Kind {
  Color color;
  int depth;
  bool transparent = false;  // by a tRNS chunk
  bool interlaced = false;

  int samples() const { return color == kGray || color == kPalette ? 1 : color == kGrayAlpha ? 2 : color == kRgb ? 3 : 4; }
  int channels() const { return color == kGray || color == kGrayAlpha ? 1 : 3; }
  int largest() const { return (1 << depth) - 1; }
};

std::ostream& operator<<(std::ostream& out, const Kind& kind) {
  return out << "color " << kind.color << " depth " << kind.depth << (kind.transparent ? " with tRNS" : "")
             << (kind.interlaced ? " interlaced" : "");
}

std::vector<Kind> all_kinds() {
  std::vector<Kind> kinds;
  for (const bool interlaced : {false, true}) {
    for (const bool transparent : {false, true}) {
      for (int depth : {1, 2, 4, 8, 16}) kinds.push_back({kGray, depth, transparent, interlaced});
      for (int depth : {1, 2, 4, 8}) kinds.push_back({kPalette, depth, transparent, interlaced});
      for (int depth : {8, 16}) kinds.push_back({kRgb, depth, transparent, interlaced});
    }
    for (int depth : {8, 16}) kinds.push_back({kGrayAlpha, depth, false, interlaced});
    for (int depth : {8, 16}) kinds.push_back({kRgba, depth, false, interlaced});
  }
  return kinds;
}

// A picture as samples of a kind, from which both the file and what must be read from it are worked out.
struct Original {
  Kind kind;
  int width, height;
  std::vector<int> samples;               // [y][x][sample]
  std::vector<std::array<int, 4>> colors;  // the palette: red, green, blue, alpha
  std::array<int, 3> key{};               // the colour that is transparent

  int at(int x, int y, int s) const { return samples[(std::size_t(y) * width + x) * kind.samples() + s]; }
};

Original random_original(const Kind& kind, int width, int height, std::mt19937& random) {
  Original original{kind, width, height, {}, {}, {}};
  for (int n = 0; n < width * height * kind.samples(); ++n) {
    original.samples.push_back(static_cast<int>(random() % (kind.largest() + 1u)));
  }
  for (int n = 0; n <= kind.largest() && kind.color == kPalette; ++n) {
    const int alpha = kind.transparent && n % 3 == 0 ? static_cast<int>(random() % 256) : 255;
    auto channel = [&] { return static_cast<int>(random() % 256); };
    original.colors.push_back({channel(), channel(), channel(), alpha});
  }
  for (int c = 0; c < 3; ++c) original.key[c] = original.samples[c % kind.samples()];  // the first pixel's colour
  return original;
}

// One row of samples, some of the columns only, packed as PNG has it, without a filter.
File packed_row(const Original& original, int y, int first, int step) {
  File row{0};
  int bits = 0, used = 0;
  for (int x = first; x < original.width; x += step) {
    for (int s = 0; s < original.kind.samples(); ++s) {
      const int sample = original.at(x, y, s);
      if (original.kind.depth == 16) row.push_back(static_cast<std::uint8_t>(sample >> 8));
      bits = bits << std::min(8, original.kind.depth) | (sample & 255);
      used += std::min(8, original.kind.depth);
      if (used == 8) {
        row.push_back(static_cast<std::uint8_t>(bits));
        bits = used = 0;
      }
    }
  }
  if (used > 0) row.push_back(static_cast<std::uint8_t>(bits << (8 - used)));
  return row;
}

File packed_rows(const Original& original) {
  struct Pass {
    int x, y, dx, dy;
  };
  static const std::vector<Pass> kWhole{{0, 0, 1, 1}};
  static const std::vector<Pass> kAdam7{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                        {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
  File rows;
  for (const Pass& pass : original.kind.interlaced ? kAdam7 : kWhole) {
    if (pass.x >= original.width) continue;
    for (int y = pass.y; y < original.height; y += pass.dy) test::append(rows, packed_row(original, y, pass.x, pass.dx));
  }
  return rows;
}

File palette_chunk(const Original& original) {
  if (original.colors.empty()) return {};
  File entries;
  for (const auto& color : original.colors) {
    for (int c = 0; c < 3; ++c) entries.push_back(static_cast<std::uint8_t>(color[c]));
  }
  return test::png_chunk("PLTE", entries);
}

File transparency_chunk(const Original& original) {
  if (!original.kind.transparent) return {};
  File data;
  for (const auto& color : original.colors) data.push_back(static_cast<std::uint8_t>(color[3]));
  if (original.colors.empty()) {
    for (int c = 0; c < original.kind.samples(); ++c) {
      test::append(data, test::big_endian(static_cast<std::uint32_t>(original.key[c]), 2));
    }
  }
  return test::png_chunk("tRNS", data);
}

File file_of(const Original& original) {
  const Kind& kind = original.kind;
  return test::png_file({test::png_header(original.width, original.height, kind.depth, kind.color, kind.interlaced),
                         palette_chunk(original), transparency_chunk(original),
                         test::png_chunk("IDAT", test::deflated(packed_rows(original)))});
}

File small_file(const Kind& kind) {
  std::mt19937 random(3);
  return file_of(random_original(kind, 7, 5, random));
}

double rounded(double value) { return std::floor(value + 0.5); }

// Red, green, blue (or gray in all three) and alpha, each 0..255.
std::array<double, 4> color_of(const Original& original, int x, int y) {
  const Kind& kind = original.kind;
  if (kind.color == kPalette) {
    const auto& color = original.colors[original.at(x, y, 0)];
    return {double(color[0]), double(color[1]), double(color[2]), double(color[3])};
  }
  std::array<double, 4> color{};
  bool is_key = kind.transparent;
  for (int c = 0; c < 3; ++c) {
    const int sample = original.at(x, y, kind.channels() == 1 ? 0 : c);
    color[c] = rounded(255.0 * sample / kind.largest());
    is_key = is_key && (c >= kind.channels() || sample == original.key[c]);
  }
  color[3] = is_key ? 0 : 255;
  if (kind.color == kGrayAlpha || kind.color == kRgba) {
    color[3] = rounded(255.0 * original.at(x, y, kind.channels()) / kind.largest());
  }
  return color;
}

std::vector<std::uint8_t> expected_samples(const Original& original) {
  std::vector<std::uint8_t> samples;
  for (int y = 0; y < original.height; ++y) {
    for (int x = 0; x < original.width; ++x) {
      const auto color = color_of(original, x, y);
      for (int c = 0; c < original.kind.channels(); ++c) {
        samples.push_back(static_cast<std::uint8_t>(rounded((color[c] * color[3] + 255 * (255 - color[3])) / 255)));
      }
    }
  }
  return samples;
}

void expect_exact(const Original& original) {
  const Picture picture = read(file_of(original));
  EXPECT_EQ(picture.width, original.width);
  EXPECT_EQ(picture.height, original.height);
  ASSERT_EQ(picture.channels, original.kind.channels());
  ASSERT_EQ(picture.samples, expected_samples(original))
      << original.kind << ", " << original.width << " x " << original.height;
}

TEST(Png, EveryKindIsReadExactly) {
  std::mt19937 random(1);
  for (const Kind& kind : all_kinds()) {
    for (int width = 1; width <= 9; ++width) {
      for (int height = 1; height <= 9; ++height) expect_exact(random_original(kind, width, height, random));
    }
    expect_exact(random_original(kind, 131, 67, random));
  }
}

TEST(Png, WhatIsWrittenReadsBackExactly) {
  const Picture photo = test::photograph();
  const Picture dot = test::drawn_picture(1, 1, 3), line = test::drawn_picture(3, 700, 1);
  for (const Picture& picture : {photo, test::to_gray(photo), dot, line}) {
    const Picture again = read(write_png(picture));
    EXPECT_EQ(again.width, picture.width);
    EXPECT_EQ(again.height, picture.height);
    EXPECT_EQ(again.channels, picture.channels);
    EXPECT_EQ(again.samples, picture.samples);
  }
  EXPECT_EQ(test::fault_of([] { write_png(Picture{}); }), Fault::invalid_argument);
  EXPECT_EQ(test::fault_of([] { write_png(Picture{2, 2, 3, {1, 2, 3}}); }), Fault::invalid_argument);
  EXPECT_EQ(test::fault_of([&] { write_png(photo, test::Stop{}); }), Fault::cancelled);
}

TEST(Png, EveryTruncationIsAnError) {
  for (const Kind& kind : all_kinds()) {
    const File file = small_file(kind);
    // But in the end marker's checksum, with which nothing is lost.
    for (std::size_t size = 8; size < file.size() - 4; ++size) {
      ASSERT_EQ(read_fault(Bytes(file).first(size)), Fault::bad_picture) << kind << ", " << size << " of " << file.size();
    }
  }
}

TEST(Png, EveryFlippedBitIsAnErrorOrAPicture) {
  for (const Kind& kind : all_kinds()) test::expect_picture_or_error_with_flipped_bits(small_file(kind));
}

// Damage under checksums that are right.
TEST(Png, EveryFlippedBitOfTheRowsIsAnErrorOrAPicture) {
  std::mt19937 random(4);
  for (const Kind& kind : all_kinds()) {
    const Original original = random_original(kind, 7, 5, random);
    File rows = test::deflated(packed_rows(original));
    for (std::size_t bit = 0; bit < 8 * rows.size(); ++bit) {
      rows[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
      test::expect_picture_or_error(test::png_file({test::png_header(7, 5, kind.depth, kind.color, kind.interlaced),
                                              palette_chunk(original), transparency_chunk(original),
                                              test::png_chunk("IDAT", rows)}));
      rows[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    }
  }
}

TEST(Png, OddHeadersAreRefused) {
  const File rows = test::png_chunk("IDAT", test::deflated(File(200)));
  for (int depth = 0; depth <= 32; ++depth) {
    for (int color = 0; color <= 7; ++color) {
      test::expect_picture_or_error(test::png_file({test::png_header(7, 5, depth, color, false), rows}));
    }
  }
  EXPECT_EQ(read_fault(test::png_file({test::png_header(0, 5, 8, kGray, false), rows})), Fault::bad_picture);
  EXPECT_EQ(read_fault(test::png_file({test::png_header(7, 5, 3, kGray, false), rows})), Fault::bad_picture);
  EXPECT_EQ(read_fault(test::png_file({test::png_header(7, 5, 8, kPalette, false), rows})), Fault::bad_picture);
  EXPECT_EQ(read_fault(test::png_file({rows})), Fault::bad_picture);
  EXPECT_EQ(read_fault(test::png_file({test::png_header(7, 5, 8, kGray, false), test::png_chunk("ABCD", {}), rows})),
            Fault::unsupported_picture);
}

TEST(Png, AColourThatThePaletteLacksIsAnError) {
  const File palette = test::png_chunk("PLTE", {1, 2, 3, 4, 5, 6});
  auto with_index = [&](std::uint8_t index) {
    return test::png_file({test::png_header(1, 1, 8, kPalette, false), palette,
                           test::png_chunk("IDAT", test::deflated({0, index}))});
  };
  EXPECT_EQ(read(with_index(1)).samples, (std::vector<std::uint8_t>{4, 5, 6}));
  EXPECT_EQ(read_fault(with_index(2)), Fault::bad_picture);
}

TEST(Png, AHugeClaimIsRefused) {
  auto claiming = [](std::uint32_t width, std::uint32_t height) {
    return test::png_file({test::png_header(width, height, 8, kRgb, false),
                           test::png_chunk("IDAT", test::deflated(File(100'000)))});
  };
  const Limits wide{std::int64_t{1} << 40, 100};
  EXPECT_EQ(read_fault(claiming(60000, 60000)), Fault::limit_exceeded);
  EXPECT_EQ(read_fault(claiming(60000, 60000), wide), Fault::bad_picture);
  EXPECT_EQ(read_fault(claiming(0x7FFFFFFF, 1), wide), Fault::limit_exceeded);
  EXPECT_EQ(read_fault(claiming(0x7FFFFFFF, 0x7FFFFFFF), wide), Fault::limit_exceeded);
  EXPECT_NO_THROW(read(claiming(16, 16), Limits{256, 1}));
  EXPECT_EQ(read_fault(claiming(16, 16), Limits{255, 1}), Fault::limit_exceeded);
}

// What a file says beside its picture is passed over, however much it is.
TEST(Png, ExtrasCostNothing) {
  const Picture picture = test::drawn_picture(9, 7, 3);
  const File file = write_png(picture);
  const File zeros = test::deflated(File(16 << 20));
  const File profile = test::png_chunk("iCCP", test::joined({test::bytes_of("x"), {0, 0}, zeros}));
  File texts = test::png_chunk("zTXt", test::joined({test::bytes_of("x"), {0, 0}, zeros}));
  for (int n = 0; n < 50'000; ++n) test::append(texts, test::png_chunk("tEXt", {'k', 0, 'v'}));
  const File gamma = test::png_chunk("gAMA", test::big_endian(100'000));
  for (const File& extra : {profile, texts, gamma, test::png_chunk("acTL", File(8))}) {
    EXPECT_EQ(read(test::png_with(file, extra)).samples, picture.samples);
  }
}

TEST(Png, RowsThatNeverEndAreNotRead) {
  const File rows = test::deflated(File(16 << 20));
  const File header = test::png_header(7, 5, 8, kGray, false);
  EXPECT_EQ(read(test::png_file({header, test::png_chunk("IDAT", rows)})).samples, File(35));
  File empty;
  for (int n = 0; n < 50'000; ++n) test::append(empty, test::png_chunk("IDAT", {}));
  EXPECT_EQ(read(test::png_file({header, empty, test::png_chunk("IDAT", rows)})).samples, File(35));
  EXPECT_EQ(read_fault(test::png_file({header, empty})), Fault::bad_picture);
}

TEST(Png, CanBeStopped) {
  for (const bool interlaced : {false, true}) {
    const File file = small_file({kRgb, 8, false, interlaced});
    EXPECT_EQ(test::fault_of([&] { read_picture(file, Limits{}, test::Stop{}); }), Fault::cancelled);
  }
}

}  // namespace
}  // namespace imagecalc
