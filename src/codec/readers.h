// What read_picture chooses from, and what the readers share. JPEG has a header of its own.
#pragma once

#include <algorithm>
#include <string_view>

#include "codec/picture.h"

namespace imagecalc {

Picture read_png(Bytes file, const Limits& limits, const Interrupt& interrupt);
Picture read_webp(Bytes file, const Limits& limits, const Interrupt& interrupt);

inline constexpr const char* kDamagedHint = "The file is damaged; get it again from where it came.";
inline constexpr const char* kTooLargeHint = "Use a smaller picture, or raise imagecalc.max_pixels.";

inline constexpr const char* kTooWideHint = "Use a smaller picture, or a PNG file of it.";  // for the decoder itself

// Whether this text stands at this place.
inline bool has_at(Bytes bytes, std::size_t at, std::string_view text) {
  const auto same = [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; };
  return at <= bytes.size() && text.size() <= bytes.size() - at &&
         std::equal(text.begin(), text.end(), bytes.subspan(at).begin(), same);
}

// An 8-bit sample with this alpha in front of white, rounded to nearest.
inline std::uint8_t over_white(int sample, int alpha) {
  return static_cast<std::uint8_t>((sample * alpha + 255 * (255 - alpha) + 127) / 255);
}

inline std::uint32_t read_le32(Bytes bytes, std::size_t at) {
  return std::uint32_t{bytes[at]} | std::uint32_t{bytes[at + 1]} << 8 | std::uint32_t{bytes[at + 2]} << 16 |
         std::uint32_t{bytes[at + 3]} << 24;
}

inline std::uint32_t read_be32(Bytes bytes, std::size_t at) {
  return std::uint32_t{bytes[at]} << 24 | std::uint32_t{bytes[at + 1]} << 16 | std::uint32_t{bytes[at + 2]} << 8 |
         std::uint32_t{bytes[at + 3]};
}

}  // namespace imagecalc
