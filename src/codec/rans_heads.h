// What an encoding of coder 1 begins with, and what follows from it (rans.h has the layout).
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "codec/rans.h"

namespace imagecalc::rans {

inline constexpr int kMaxChannels = 3;
inline constexpr int kMaxLanes = 32;
inline constexpr std::uint32_t kLowest = 1u << 16;                // of a state
inline constexpr int kBaseLevels = 24, kBaseBits = 5, kGainBits = 2;
inline constexpr std::size_t kSlack = BytePlanes::kSlack;         // elements after every buffer that vectors may touch
inline constexpr int kGains = 1 << kGainBits;

// What the encoder chooses for each channel: the level of base_of() for its frequency (0,0), how many diagonals are coded
// after that (the coefficients of the others are 0), and what the sizes expected there are multiplied by.
struct ChannelHead {
  int base, diagonals, gain;
};

constexpr std::uint16_t gain_of(int choice) {
  constexpr std::uint16_t kFactors[kGains] = {32768, 23170, 46341, 65535};
  return kFactors[choice];
}

constexpr std::uint32_t base_of(int level) { return (level % 2 ? 181u : 128u) << level / 2 >> 5; }

constexpr std::uint32_t magnitude(std::uint32_t symbol) { return (symbol + 1) / 2 + (symbol > 17 ? 4 * (symbol - 17) : 0); }

// The bits that hold a number of diagonals.
constexpr int diagonal_bits(int kept) { return std::bit_width(static_cast<unsigned>(kept - 1)); }

// How many symbols are coded; heads: one a channel.
constexpr std::size_t coded_symbols(const Layout& layout, const ChannelHead* heads) {
  std::size_t symbols = 0;
  for (int c = 0; c < layout.channels; ++c) {
    symbols += static_cast<std::size_t>(triangle_size(heads[c].diagonals + 1)) * layout.blocks();
  }
  return symbols;
}

// One lane more costs about 2 bytes and saves time only where there are symbols enough.
constexpr int lanes_for(std::size_t symbols) { return symbols < 512 ? 4 : symbols < 3072 ? 8 : symbols < 6144 ? 16 : 32; }

}  // namespace imagecalc::rans
