#include "codec/exif.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "codec/readers.h"

namespace imagecalc {
namespace {

constexpr std::string_view kExifPrefix("Exif\0\0", 6);

// ---- where EXIF lies in a file; nothing where it does not

// The first APP1 segment that is EXIF, before the first scan.
Bytes find_in_jpeg(Bytes file) {
  Bytes rest = file.subspan(2);
  while (rest.size() >= 4 && rest[0] == 0xFF) {
    const int marker = rest[1];
    if (marker == 0xFF) {  // padding
      rest = rest.subspan(1);
      continue;
    }
    const std::size_t length = std::size_t{rest[2]} << 8 | rest[3];
    if (marker == 0xDA || length < 2 || length > rest.size() - 2) break;
    const Bytes data = rest.subspan(4, length - 2);
    if (marker == 0xE1 && has_at(data, 0, kExifPrefix)) return data;
    rest = rest.subspan(2 + length);
  }
  return {};
}

Bytes find_in_png(Bytes file) {
  constexpr std::size_t kFrame = 12;  // length, type and checksum
  for (Bytes rest = file.subspan(8); rest.size() >= kFrame;) {
    const std::size_t length = read_be32(rest, 0);
    if (length > rest.size() - kFrame) break;
    if (has_at(rest, 4, "eXIf")) return rest.subspan(8, length);
    rest = rest.subspan(kFrame + length);
  }
  return {};
}

Bytes find_in_webp(Bytes file) {
  for (Bytes rest = file.subspan(12); rest.size() >= 8;) {
    const std::size_t length = read_le32(rest, 4), padded = length + length % 2;
    if (length > rest.size() - 8) break;
    if (has_at(rest, 0, "EXIF")) return rest.subspan(8, length);
    if (padded > rest.size() - 8) break;
    rest = rest.subspan(8 + padded);
  }
  return {};
}

Bytes find_exif(Bytes file) {
  switch (file_kind(file)) {
    case FileKind::jpeg:
      return find_in_jpeg(file);
    case FileKind::png:
      return find_in_png(file);
    case FileKind::webp:
      return find_in_webp(file);
    case FileKind::unknown:
      break;
  }
  return {};
}

// ---- what it says: a TIFF directory in either byte order

class Tiff {
 public:
  Tiff(Bytes bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}

  std::size_t size() const { return bytes_.size(); }
  std::uint32_t word(std::size_t at) const { return big_endian_ ? read_be32(bytes_, at) : read_le32(bytes_, at); }
  std::uint32_t half(std::size_t at) const {
    const std::uint32_t first = bytes_[at], second = bytes_[at + 1];
    return big_endian_ ? first << 8 | second : second << 8 | first;
  }

 private:
  Bytes bytes_;
  bool big_endian_;
};

std::optional<Tiff> open_tiff(Bytes exif) {
  if (has_at(exif, 0, kExifPrefix)) exif = exif.subspan(kExifPrefix.size());
  if (exif.size() < 8) return std::nullopt;
  if (has_at(exif, 0, std::string_view("II*\0", 4))) return Tiff(exif, false);
  if (has_at(exif, 0, std::string_view("MM\0*", 4))) return Tiff(exif, true);
  return std::nullopt;
}

int orientation_of(const Tiff& tiff) {
  constexpr std::uint32_t kOrientation = 0x0112, kShort = 3;
  constexpr std::size_t kEntrySize = 12;
  const std::size_t directory = tiff.word(4);
  if (directory > tiff.size() || tiff.size() - directory < 2) return 1;
  const std::size_t first = directory + 2;
  const std::size_t count = std::min<std::size_t>(tiff.half(directory), (tiff.size() - first) / kEntrySize);
  for (std::size_t entry = first; entry < first + count * kEntrySize; entry += kEntrySize) {
    if (tiff.half(entry) != kOrientation) continue;
    const std::uint32_t value = tiff.half(entry + 8);
    const bool valid = tiff.half(entry + 2) == kShort && tiff.word(entry + 4) == 1 && value >= 1 && value <= 8;
    return valid ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace

int exif_orientation(Bytes file) {
  const std::optional<Tiff> tiff = open_tiff(find_exif(file));
  return tiff ? orientation_of(*tiff) : 1;
}

Picture upright(Picture picture, int orientation, const Interrupt& interrupt) {
  if (orientation <= 1 || orientation > 8) return picture;
  const bool transposed = orientation >= 5;
  const bool right_to_left = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool bottom_up = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;

  // Steps through the old picture that go with one to the right and one down in the new one.
  const std::ptrdiff_t channels = picture.channels, stride = channels * picture.width;
  const std::ptrdiff_t along_row = right_to_left ? -channels : channels, along_column = bottom_up ? -stride : stride;
  const std::ptrdiff_t right = transposed ? along_column : along_row, down = transposed ? along_row : along_column;
  const std::uint8_t* line = picture.samples.data() + (right_to_left ? stride - channels : 0) +
                             (bottom_up ? stride * (picture.height - 1) : 0);

  Picture turned{picture.width, picture.height, picture.channels, {}};
  if (transposed) std::swap(turned.width, turned.height);
  turned.samples.resize(picture.samples.size());
  std::uint8_t* out = turned.samples.data();
  for (int y = 0; y < turned.height; ++y) {
    interrupt.check();
    for (int x = 0; x < turned.width; ++x, out += channels) {
      for (std::ptrdiff_t c = 0; c < channels; ++c) out[c] = line[down * y + right * x + c];
    }
  }
  return turned;
}

}  // namespace imagecalc
