// PNG files.
#include <zlib.h>

#include "fuzz.h"

namespace imagecalc::fuzz {
namespace {

constexpr std::size_t kSignatureSize = 8, kLengthSize = 4, kNameSize = 4, kChecksumSize = 4;

std::size_t load(const std::uint8_t* at) {
  return std::size_t{at[0]} << 24 | std::size_t{at[1]} << 16 | std::size_t{at[2]} << 8 | at[3];
}

void store(std::uint8_t* at, unsigned long value) {
  for (int n = 0; n < 4; ++n) at[n] = static_cast<std::uint8_t>(value >> 8 * (3 - n));
}

}  // namespace

// The checksums: a chunk is its length, its name, its content and their checksum.
void seal(std::span<std::uint8_t> file) {
  if (file.size() < kSignatureSize) return;
  file = file.subspan(kSignatureSize);
  while (file.size() >= kLengthSize + kNameSize + kChecksumSize) {
    const std::size_t length = load(file.data());
    if (length > file.size() - kLengthSize - kNameSize - kChecksumSize) return;
    const std::span<std::uint8_t> named = file.subspan(kLengthSize, kNameSize + length);
    store(file.data() + kLengthSize + named.size(), crc32(0, named.data(), static_cast<uInt>(named.size())));
    file = file.subspan(kLengthSize + named.size() + kChecksumSize);
  }
}

}  // namespace imagecalc::fuzz
