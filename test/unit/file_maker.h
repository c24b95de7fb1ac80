// Picture files put together chunk by chunk, so that tests can have kinds that no encoder at hand writes, and damage.
#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "codec/picture.h"

namespace imagecalc::test {

using File = std::vector<std::uint8_t>;

inline File bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

inline void append(File& file, Bytes bytes) { file.insert(file.end(), bytes.begin(), bytes.end()); }

inline File joined(std::initializer_list<File> parts) {
  File whole;
  for (const File& part : parts) append(whole, part);
  return whole;
}

// The lowest bytes of a number, most or least significant first.
inline File big_endian(std::uint32_t value, int bytes = 4) {
  File out;
  for (int n = bytes - 1; n >= 0; --n) out.push_back(static_cast<std::uint8_t>(value >> 8 * n));
  return out;
}

inline File little_endian(std::uint32_t value, int bytes = 4) {
  const File big = big_endian(value, bytes);
  return {big.rbegin(), big.rend()};
}

// ---- damage

inline void expect_picture_or_error(Bytes file) {
  try {
    const Picture picture = read_picture(file, Limits{100'000, 10}, Interrupt{});
    EXPECT_EQ(picture.samples.size(), std::size_t(picture.width) * picture.height * picture.channels);
  } catch (const Error& error) {
    EXPECT_NE(error.fault(), Fault::internal) << error.what();
    EXPECT_NE(error.hint(), "") << error.what();
  }
}

// With each of its bits in turn.
inline void expect_picture_or_error_with_flipped_bits(File file) {
  for (std::size_t bit = 0; bit < 8 * file.size(); ++bit) {
    file[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    expect_picture_or_error(file);
    file[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
  }
}

// ---- PNG

inline File deflated(const File& data) {
  uLongf size = compressBound(data.size());
  File out(size);
  compress2(out.data(), &size, data.data(), data.size(), 9);
  out.resize(size);
  return out;
}

inline File png_chunk(const std::string& type, const File& data) {
  const File body = joined({bytes_of(type), data});
  const std::uint32_t checksum = static_cast<std::uint32_t>(crc32(0, body.data(), static_cast<uInt>(body.size())));
  return joined({big_endian(static_cast<std::uint32_t>(data.size())), body, big_endian(checksum)});
}

inline File png_header(std::uint32_t width, std::uint32_t height, int depth, int color, bool interlaced) {
  const File shape{static_cast<std::uint8_t>(depth), static_cast<std::uint8_t>(color), 0, 0, interlaced};
  return png_chunk("IHDR", joined({big_endian(width), big_endian(height), shape}));
}

inline File png_file(std::initializer_list<File> chunks) {
  return joined({bytes_of("\x89PNG\r\n\x1A\n"), joined(chunks), png_chunk("IEND", {})});
}

// ---- WebP

inline File riff_chunk(const std::string& type, const File& data) {
  File chunk = joined({bytes_of(type), little_endian(static_cast<std::uint32_t>(data.size())), data});
  if (data.size() % 2) chunk.push_back(0);
  return chunk;
}

inline File webp_file(std::initializer_list<File> chunks) {
  return riff_chunk("RIFF", joined({bytes_of("WEBP"), joined(chunks)}));
}

// What the file has after its RIFF header.
inline File webp_chunks(const File& file) { return {file.begin() + 12, file.end()}; }

inline constexpr std::uint8_t kWebpAnimation = 0x02, kWebpExif = 0x08, kWebpAlpha = 0x10;

inline File webp_canvas(std::uint8_t flags, std::uint32_t width, std::uint32_t height) {
  return riff_chunk("VP8X", joined({{flags, 0, 0, 0}, little_endian(width - 1, 3), little_endian(height - 1, 3)}));
}

// ---- EXIF

// A directory of two entries, the orientation the second.
inline File tiff(std::uint16_t orientation, bool big) {
  const auto number = big ? big_endian : little_endian;
  const File orientation_entry =
      joined({number(0x0112, 2), number(3, 2), number(1, 4), number(orientation, 2), number(0, 2)});
  const File other_entry = joined({number(0x010F, 2), number(2, 2), number(4, 4), bytes_of("abc"), {0}});
  return joined({bytes_of(big ? "MM" : "II"), number(42, 2), number(8, 4), number(2, 2), other_entry, orientation_entry,
                 number(0, 4)});
}

// A JPEG file with a segment after its first marker.
inline File jpeg_with_exif(const File& jpeg, const File& tiff) {
  const File data = joined({bytes_of("Exif"), {0, 0}, tiff});
  File file(jpeg.begin(), jpeg.begin() + 2);
  append(file, joined({{0xFF, 0xE1}, big_endian(static_cast<std::uint32_t>(data.size() + 2), 2), data}));
  append(file, Bytes(jpeg).subspan(2));
  return file;
}

// A PNG file with a chunk behind its header.
inline File png_with(const File& png, const File& chunk) {
  constexpr std::size_t kHeaderEnd = 8 + 12 + 13;
  File file(png.begin(), png.begin() + kHeaderEnd);
  append(file, chunk);
  append(file, Bytes(png).subspan(kHeaderEnd));
  return file;
}

}  // namespace imagecalc::test
