// What JPEG, PNG and WebP files have in common: how they are told apart, which way up they are, what a claim may cost.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <webp/encode.h>

#include <fstream>

#include "codec/encode.h"
#include "codec/exif.h"
#include "codec/jpeg.h"
#include "codec/picture.h"
#include "file_maker.h"
#include "pictures.h"

namespace imagecalc {
namespace {

using test::File;

Picture read(Bytes file, Orientation orientation = Orientation::as_stored) {
  return read_picture(file, Limits{}, Interrupt{}, orientation);
}

File lossless_webp(const Picture& rgb) {
  std::uint8_t* out = nullptr;
  const std::size_t size = WebPEncodeLosslessRGB(rgb.samples.data(), rgb.width, rgb.height, 3 * rgb.width, &out);
  File file(out, out + size);
  WebPFree(out);
  return file;
}

// ---- told by content

TEST(PictureKind, KindsAreToldByContent) {
  const Picture picture = test::drawn_picture(8, 8, 3);
  EXPECT_EQ(file_kind(write_jpeg(picture, 50)), FileKind::jpeg);
  EXPECT_EQ(file_kind(write_png(picture)), FileKind::png);
  EXPECT_EQ(file_kind(lossless_webp(picture)), FileKind::webp);
  for (const char* text : {"", "\xFF", "GIF89a", "RIFF1234WAVEfmt ", "\x89PNG\r\n\x1A", "\x1C\x01 an icimage value"}) {
    EXPECT_FALSE(looks_like_picture(test::bytes_of(text))) << text;
  }
  EXPECT_TRUE(looks_like_picture(test::bytes_of("RIFF1234WEBPVP8 ")));
}

TEST(PictureKind, OtherFilesAreRefused) {
  for (const char* text : {"", "GIF89a", "BM", "RIFF1234WAVEfmt ", "\x1C\x01 an icimage value"}) {
    try {
      read(test::bytes_of(text));
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::unsupported_picture);
      EXPECT_NE(std::string(error.what()).find("JPEG, PNG or WebP"), std::string::npos) << error.what();
      EXPECT_NE(error.hint(), "");
    }
  }
}

TEST(PictureKind, TheSamePixelsAreStoredTheSameWhateverTheFile) {
  const File jpeg = write_jpeg(test::photograph(), 75);
  const Picture pixels = read(jpeg);
  const Format format = parse_format("1x1/b32/k6/q10@104");
  const Coefficients from_png = encode_file(write_png(pixels), format, Limits{}, Interrupt{});
  EXPECT_EQ(encode_file(lossless_webp(pixels), format, Limits{}, Interrupt{}).values, from_png.values);
  EXPECT_EQ(encode(pixels, format, Interrupt{}).values, from_png.values);
}

// ---- which way up

// Where EXIF says that the first row and the first column of the file are to be seen.
enum Side { kTop, kRight, kBottom, kLeft };
constexpr std::pair<Side, Side> kSides[] = {{kTop, kLeft},    {kTop, kRight}, {kBottom, kRight}, {kBottom, kLeft},
                                            {kLeft, kTop},    {kRight, kTop}, {kRight, kBottom}, {kLeft, kBottom}};

Picture seen(const Picture& stored, int orientation) {
  const auto [first_row, first_column] = kSides[orientation - 1];
  const bool turned = first_row == kLeft || first_row == kRight;
  Picture picture{turned ? stored.height : stored.width, turned ? stored.width : stored.height, stored.channels, {}};
  picture.samples.resize(stored.samples.size());
  for (int row = 0; row < stored.height; ++row) {
    for (int column = 0; column < stored.width; ++column) {
      int x = 0, y = 0;
      for (const auto& [side, distance] : {std::pair{first_row, row}, std::pair{first_column, column}}) {
        if (side == kTop) y = distance;
        if (side == kBottom) y = picture.height - 1 - distance;
        if (side == kLeft) x = distance;
        if (side == kRight) x = picture.width - 1 - distance;
      }
      for (int c = 0; c < stored.channels; ++c) {
        picture.samples[(std::size_t(y) * picture.width + x) * stored.channels + c] =
            stored.samples[(std::size_t(row) * stored.width + column) * stored.channels + c];
      }
    }
  }
  return picture;
}

TEST(Exif, UprightIsAsTheStandardSays) {
  for (const Picture& stored : {test::drawn_picture(7, 4, 3), test::drawn_picture(5, 9, 1), test::drawn_picture(1, 1, 3)}) {
    for (int orientation = 1; orientation <= 8; ++orientation) {
      const Picture expected = seen(stored, orientation), turned = upright(stored, orientation);
      EXPECT_EQ(turned.width, expected.width);
      EXPECT_EQ(turned.height, expected.height);
      EXPECT_EQ(turned.samples, expected.samples) << orientation;
    }
    for (int orientation : {-1, 0, 9}) EXPECT_EQ(upright(stored, orientation).samples, stored.samples);
  }
  EXPECT_EQ(test::fault_of([] { upright(test::drawn_picture(7, 4, 3), 6, test::Stop{}); }), Fault::cancelled);
}

// The same picture as all kinds of file, with this EXIF block in it.
std::vector<File> files_with(const Picture& picture, const File& tiff) {
  const File prefixed = test::joined({test::bytes_of("Exif"), {0, 0}, tiff});
  const auto width = static_cast<std::uint32_t>(picture.width), height = static_cast<std::uint32_t>(picture.height);
  auto webp = [&](const File& exif) {
    return test::webp_file({test::webp_canvas(test::kWebpExif, width, height), test::webp_chunks(lossless_webp(picture)),
                            test::riff_chunk("EXIF", exif)});
  };
  return {test::jpeg_with_exif(write_jpeg(picture, 90), tiff),
          test::png_with(write_png(picture), test::png_chunk("eXIf", tiff)), webp(tiff), webp(prefixed)};
}

TEST(Exif, OrientationIsAppliedOnRequestOnly) {
  const Picture picture = test::drawn_picture(24, 16, 3);
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (bool big : {false, true}) {
      for (const File& file : files_with(picture, test::tiff(static_cast<std::uint16_t>(orientation), big))) {
        EXPECT_EQ(exif_orientation(file), orientation);
        const Picture stored = read(file), turned = read(file, Orientation::upright);
        EXPECT_EQ(stored.width, 24);
        EXPECT_EQ(turned.width, orientation < 5 ? 24 : 16);
        EXPECT_EQ(turned.samples, seen(stored, orientation).samples);
      }
    }
  }
}

TEST(Exif, EncodingFollowsTheOrientationOnRequestOnly) {
  const Picture picture = test::drawn_picture(48, 32, 3);
  const Format format = parse_format("1x1/b8/k8/q1");
  for (const File& file : files_with(picture, test::tiff(6, true))) {
    const Coefficients stored = encode_file(file, format, Limits{}, Interrupt{});
    const Coefficients turned = encode_file(file, format, Limits{}, Interrupt{}, Orientation::upright);
    EXPECT_EQ(stored.source_width, 48u);
    EXPECT_EQ(turned.source_width, 32u);
    const Picture pixels = file_kind(file) == FileKind::jpeg
                               ? read_jpeg(file, Limits{}, Interrupt{}, Upsampling::repeated)
                               : read(file);
    EXPECT_EQ(turned.values, encode(seen(pixels, 6), format, Interrupt{}).values);
  }
}

TEST(Exif, WhereThereIsNoneThePictureIsAsStored) {
  const Picture picture = test::drawn_picture(24, 16, 3);
  const File gif = test::bytes_of("GIF89a"), nothing;
  for (const File& file : {write_jpeg(picture, 90), write_png(picture), lossless_webp(picture), gif, nothing}) {
    EXPECT_EQ(exif_orientation(file), 1);
  }
  for (std::uint16_t number : {0, 9, 255, 0x0600}) {
    for (const File& file : files_with(picture, test::tiff(number, false))) EXPECT_EQ(exif_orientation(file), 1);
  }
}

TEST(Exif, DamagedBlocksAreHarmless) {
  const Picture picture = test::drawn_picture(8, 8, 3);
  for (bool big : {false, true}) {
    const File whole = test::tiff(6, big);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      // The last four bytes say where the next directory is, two before them are padding.
      const int expected = size >= whole.size() - 4 ? 6 : 1;
      for (const File& file : files_with(picture, File(whole.begin(), whole.begin() + std::ptrdiff_t(size)))) {
        EXPECT_EQ(exif_orientation(file), expected) << size;
      }
    }
    File damaged = whole;
    for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
      damaged[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
      for (const File& file : files_with(picture, damaged)) {
        const int orientation = exif_orientation(file);
        EXPECT_TRUE(orientation >= 1 && orientation <= 8);
      }
      damaged[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    }
  }
}

TEST(Exif, TruncatedFilesAreHarmless) {
  for (const File& file : files_with(test::drawn_picture(8, 8, 3), test::tiff(6, true))) {
    for (std::size_t size = 0; size < file.size(); ++size) {
      const int orientation = exif_orientation(Bytes(file).first(size));
      EXPECT_TRUE(orientation == 1 || orientation == 6);
    }
  }
}

// ---- what a claim may cost

// A file of less than a kilobyte that claims 60000 x 60000 pixels.
File claiming_file(FileKind kind) {
  const Picture picture = test::drawn_picture(8, 8, 1);
  if (kind == FileKind::png) {
    const File rows = test::png_chunk("IDAT", test::deflated(File(1000)));
    return test::png_file({test::png_header(60000, 60000, 8, 2, false), rows});
  }
  if (kind == FileKind::webp) {
    return test::webp_file({test::webp_canvas(test::kWebpAnimation, 60000, 60000), test::riff_chunk("ANIM", File(6))});
  }
  File jpeg = write_jpeg(picture, 50);
  const File frame{0xFF, 0xC0, 0, 11, 8}, edge = test::big_endian(60000, 2);
  auto size = std::search(jpeg.begin(), jpeg.end(), frame.begin(), frame.end()) + std::ptrdiff_t(frame.size());
  for (int n = 0; n < 2; ++n) size = std::copy(edge.begin(), edge.end(), size);
  return jpeg;
}

// Bounds what this process may map beyond what it has.
void allow_more_memory(std::size_t bytes) {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlim_t limit = pages * std::size_t(sysconf(_SC_PAGESIZE)) + bytes;
  const rlimit both{limit, limit};
  if (setrlimit(RLIMIT_AS, &both) != 0) std::abort();
}

[[noreturn]] void read_with_little_memory(const File& file, const Limits& limits) {
  allow_more_memory(4 << 20);
  try {
    read_picture(file, limits, Interrupt{});
  } catch (const Error& error) {
    std::_Exit(error.fault() == Fault::limit_exceeded ? 10 : error.fault() == Fault::bad_picture ? 11 : 12);
  } catch (const std::bad_alloc&) {
    std::_Exit(13);
  }
  std::_Exit(14);
}

TEST(PictureKind, AHugeClaimCostsNothing) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "AddressSanitizer needs the address space";
#endif
  for (FileKind kind : {FileKind::jpeg, FileKind::png, FileKind::webp}) {
    const File file = claiming_file(kind);
    ASSERT_LT(file.size(), 1024u);
    ASSERT_EQ(file_kind(file), kind);
    EXPECT_EXIT(read_with_little_memory(file, Limits{}), testing::ExitedWithCode(10), "");
  }
  // Allowed by the limit, but more than the file can hold.
  const Limits wide{std::int64_t{1} << 40, 100};
  for (FileKind kind : {FileKind::jpeg, FileKind::png}) {
    EXPECT_EXIT(read_with_little_memory(claiming_file(kind), wide), testing::ExitedWithCode(11), "");
  }
}

// Sixteen megabytes of profile and text that deflate makes small.
TEST(PictureKind, ABombBesideThePictureCostsNothing) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "AddressSanitizer needs the address space";
#endif
  const File name{'x', 0, 0}, zeros = test::deflated(File(16 << 20));
  for (const char* type : {"iCCP", "zTXt"}) {
    const File bomb = test::png_chunk(type, test::joined({name, zeros}));
    const File file = test::png_with(write_png(test::drawn_picture(8, 8, 3)), bomb);
    EXPECT_EXIT(read_with_little_memory(file, Limits{}), testing::ExitedWithCode(14), "");
  }
}

}  // namespace
}  // namespace imagecalc
