// The probabilities of coder 1: for each context how often each symbol comes, in 1024ths. They are part of the value layout:
// a value that was written with one set of tables cannot be read with another.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "codec/symbols.h"

namespace imagecalc::rans {

inline constexpr int kContexts = 28;
inline constexpr int kProbabilityBits = 10;
inline constexpr int kSlots = 1 << kProbabilityBits;

// A symbol's context is the size that its neighbours lead one to expect, in half octaves: `expected` is a magnitude in
// 64ths, at most 32765.
constexpr int context_of(std::uint32_t expected) {
  return static_cast<int>(std::bit_cast<std::uint32_t>(static_cast<float>(expected + 2)) >> 22) - 256;
}

// What the decoder looks up by context and slot: symbol in bits 0..5, frequency in 6..15, slot minus the symbol's first slot
// in 16..25.
const std::uint32_t* decoding_table();  // [kContexts][kSlots]

struct Range {
  std::uint64_t reciprocal;        // 2^42 / frequency, rounded up
  std::uint16_t first, frequency;  // frequency 0: the context does not hold the symbol

  // state / frequency, exact for a state below frequency * 2^22: the error is below 2^22 frequency / 2^42 < 1 / frequency.
  std::uint32_t divide(std::uint32_t state) const {
    __extension__ using Product = unsigned __int128;
    return static_cast<std::uint32_t>(Product{state} * reciprocal >> 42);
  }
};
const std::array<std::array<Range, kSymbols>, kContexts>& encoding_table();

// What a symbol costs in its context, without the raw bits that follow it.
inline constexpr int kCostOfABit = 256;
const std::array<std::array<std::uint16_t, kSymbols>, kContexts>& cost_table();

// For each context, bit s is set where it holds the symbol s.
const std::uint64_t* held_symbols();

}  // namespace imagecalc::rans
