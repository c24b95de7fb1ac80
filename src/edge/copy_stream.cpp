#include "edge/copy_stream.h"

#include <array>
#include <cstdint>

namespace imagecalc {
namespace {

constexpr std::array<std::uint8_t, 19> kHeader = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xFF, '\r', '\n', 0};
constexpr int kFields = 2;

void write_integer(Output& output, std::uint32_t value, int size) {
  std::array<std::uint8_t, 4> bytes;
  for (int n = 0; n < size; ++n) bytes[n] = static_cast<std::uint8_t>(value >> 8 * (size - 1 - n));
  output.write(Bytes(bytes).first(size));
}

// How many bytes the character takes that begins with this one; 0: none does.
std::size_t utf8_length(std::uint8_t first) {
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;
  if (first < 0xE0) return 2;
  if (first < 0xF0) return 3;
  return first < 0xF5 ? 4 : 0;
}

// The second byte has a smaller range where the full one would be overlong, a surrogate or beyond Unicode.
bool is_second_byte(std::uint8_t first, std::uint8_t second) {
  const std::uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const std::uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  return second >= low && second <= high;
}

}  // namespace

CopyStream::CopyStream(Output& output) : output_(output) { output_.write(kHeader); }

void CopyStream::write_row(std::string_view file, Bytes value) {
  write_integer(output_, kFields, 2);
  write_field({reinterpret_cast<const std::uint8_t*>(file.data()), file.size()});
  write_field(value);
}

void CopyStream::write_trailer() { write_integer(output_, 0xFFFF, 2); }

void CopyStream::write_field(Bytes bytes) {
  write_integer(output_, static_cast<std::uint32_t>(bytes.size()), 4);
  output_.write(bytes);
}

bool is_utf8_text(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = [&](std::size_t n) { return static_cast<std::uint8_t>(text[at + n]); };
    const std::size_t length = utf8_length(byte(0));
    if (length == 0 || byte(0) == 0 || length > text.size() - at) return false;
    if (length > 1 && !is_second_byte(byte(0), byte(1))) return false;
    for (std::size_t n = 2; n < length; ++n) {
      if ((byte(n) & 0xC0) != 0x80) return false;
    }
    at += length;
  }
  return true;
}

}  // namespace imagecalc
