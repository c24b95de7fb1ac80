// The alphabet of the entropy coder (coder 1): a coefficient's zigzag number z = (v << 1) ^ (v >> 31) as one of 45 symbols,
// some of which are followed by raw bits.
//
//   0..15    z itself
//   16       escape: 6 raw bits with the length n of z in bits, then its n bits
//   17..44   half an octave each: symbol 17 + 2 (o - 4) + h holds the z whose highest bit is o (4..17) and whose next
//            bit is h; the o - 1 bits below are raw
//
// A symbol that its context's table does not hold is written as an escape.
#pragma once

#include <bit>
#include <cstdint>

namespace imagecalc::rans {

inline constexpr int kSymbols = 45;
inline constexpr int kDirect = 16;  // z below it are symbols of their own
inline constexpr int kEscape = 16;
inline constexpr int kFirstOctave = 4, kLastOctave = 17;
inline constexpr int kLengthBits = 6;

constexpr int to_symbol(std::uint32_t zigzag) {
  if (zigzag < kDirect) return static_cast<int>(zigzag);
  const int octave = std::bit_width(zigzag) - 1;
  if (octave > kLastOctave) return kEscape;
  return kEscape + 1 + 2 * (octave - kFirstOctave) + static_cast<int>(zigzag >> (octave - 1) & 1);
}

// Of a symbol above kEscape: how many raw bits follow, and the least z that it holds.
constexpr int raw_bits(int symbol) { return (symbol - kEscape - 1) / 2 + kFirstOctave - 1; }
constexpr std::uint32_t least_zigzag(int symbol) { return (2u | ((symbol - kEscape - 1) & 1)) << raw_bits(symbol); }

}  // namespace imagecalc::rans
