#include "codec/rans_tables.h"

#include <memory>

namespace imagecalc::rans {
namespace {

// Made by bench/train_rans_tables.cpp from photographs in formats all over the design space. Each row sums to kSlots; an
// escape is always possible, so that every coefficient can be written.
constexpr std::uint16_t kFrequencies[kContexts][kSymbols] = {
#include "codec/rans_frequencies.inc"
};

constexpr bool is_complete() {
  for (const auto& row : kFrequencies) {
    int sum = 0;
    for (const std::uint16_t frequency : row) sum += frequency;
    if (sum != kSlots || row[kEscape] == 0) return false;
  }
  return true;
}
static_assert(is_complete());

using DecodingTable = std::array<std::uint32_t, std::size_t{kContexts} * kSlots>;

std::unique_ptr<DecodingTable> make_decoding_table() {
  auto table = std::make_unique<DecodingTable>();
  std::uint32_t* entry = table->data();
  for (const auto& row : kFrequencies) {
    for (std::uint32_t symbol = 0; symbol < kSymbols; ++symbol) {
      for (std::uint32_t n = 0; n < row[symbol]; ++n) *entry++ = symbol | std::uint32_t{row[symbol]} << 6 | n << 16;
    }
  }
  return table;
}

std::array<std::array<Range, kSymbols>, kContexts> make_encoding_table() {
  std::array<std::array<Range, kSymbols>, kContexts> table;
  for (int context = 0; context < kContexts; ++context) {
    std::uint16_t first = 0;
    for (int symbol = 0; symbol < kSymbols; ++symbol) {
      const std::uint16_t frequency = kFrequencies[context][symbol];
      const std::uint64_t reciprocal = frequency ? ((std::uint64_t{1} << 42) + frequency - 1) / frequency : 0;
      table[context][symbol] = {reciprocal, first, frequency};
      first = static_cast<std::uint16_t>(first + frequency);
    }
  }
  return table;
}

// log2 by repeated squaring, in integers: the same bits everywhere, since the choice of gains hangs on it.
constexpr std::uint16_t cost_of(std::uint32_t frequency) {
  std::uint64_t mantissa = std::uint64_t{frequency} << (40 - std::bit_width(frequency));  // in [2^39, 2^40)
  std::uint32_t log = static_cast<std::uint32_t>(std::bit_width(frequency)) - 1;
  for (int bit = 0; bit < 8; ++bit) {
    mantissa = (mantissa >> 10) * (mantissa >> 10) >> 19;
    log = log << 1 | static_cast<std::uint32_t>(mantissa >> 40);
    if (mantissa >> 40) mantissa >>= 1;
  }
  return static_cast<std::uint16_t>(kProbabilityBits * kCostOfABit - log);
}

std::array<std::array<std::uint16_t, kSymbols>, kContexts> make_cost_table() {
  std::array<std::array<std::uint16_t, kSymbols>, kContexts> costs{};
  for (int context = 0; context < kContexts; ++context) {
    for (int symbol = 0; symbol < kSymbols; ++symbol) {
      const std::uint16_t frequency = kFrequencies[context][symbol];
      if (frequency > 0) costs[context][symbol] = cost_of(frequency);
    }
  }
  return costs;
}

std::array<std::uint64_t, kContexts> make_held_symbols() {
  std::array<std::uint64_t, kContexts> held{};
  for (int context = 0; context < kContexts; ++context) {
    for (int symbol = 0; symbol < kSymbols; ++symbol) {
      if (kFrequencies[context][symbol] > 0) held[context] |= std::uint64_t{1} << symbol;
    }
  }
  return held;
}

}  // namespace

const std::uint32_t* decoding_table() {
  static const std::unique_ptr<DecodingTable> table = make_decoding_table();
  return table->data();
}

const std::array<std::array<Range, kSymbols>, kContexts>& encoding_table() {
  static const auto table = make_encoding_table();
  return table;
}

const std::array<std::array<std::uint16_t, kSymbols>, kContexts>& cost_table() {
  static const auto table = make_cost_table();
  return table;
}

const std::uint64_t* held_symbols() {
  static const auto held = make_held_symbols();
  return held.data();
}

}  // namespace imagecalc::rans
