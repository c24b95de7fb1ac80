// WebP files.
#include "fuzz.h"

namespace imagecalc::fuzz {

constexpr std::size_t kRiffHeaderSize = 8;  // "RIFF" and how many bytes follow

// The RIFF size.
void seal(std::span<std::uint8_t> file) {
  if (file.size() < kRiffHeaderSize) return;
  for (int n = 0; n < 4; ++n) file[4 + n] = static_cast<std::uint8_t>((file.size() - kRiffHeaderSize) >> 8 * n);
}

}  // namespace imagecalc::fuzz
