#include "codec/rans.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <span>
#include <utility>

#include "codec/bits.h"
#include "codec/rans_heads.h"
#include "codec/rans_tables.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/rans_encode.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "codec/rans_walk-inl.h"

#ifndef IMAGECALC_CODEC_RANS_ENCODE_ONCE
#define IMAGECALC_CODEC_RANS_ENCODE_ONCE
namespace imagecalc::rans {

// Symbols that do not depend on one another.
struct Run {
  std::size_t begin, count;
};

}  // namespace imagecalc::rans
#endif

HWY_BEFORE_NAMESPACE();
namespace imagecalc::rans {
namespace HWY_NAMESPACE {

// contexts: one for each symbol of the runs. Symbols that their context does not hold become escapes.
void find_contexts(const Layout& layout, const ChannelHead* heads, std::uint8_t* symbols, std::uint8_t* contexts,
                   std::vector<Run>& runs, const Interrupt& interrupt) {
  const std::uint64_t* held = held_symbols();
  walk(layout, heads, symbols, interrupt, [&](const std::uint16_t* expected, std::size_t count, std::uint8_t* run) {
    std::uint8_t* context = contexts + (run - symbols);
    runs.push_back({static_cast<std::size_t>(run - symbols), count});
    for (std::size_t e = 0; e < count; ++e) context[e] = static_cast<std::uint8_t>(context_of(expected[e]));
    for (std::size_t e = 0; e < count; ++e) {
      if (!(held[context[e]] >> run[e] & 1)) run[e] = kEscape;
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace imagecalc::rans
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace imagecalc::rans {

HWY_EXPORT(find_contexts);

namespace {

std::uint32_t zigzag_at(const BytePlanes& planes, std::size_t place, std::vector<BytePlanes::Large>::const_iterator& large) {
  return planes.bytes()[place] == BytePlanes::kLarge ? to_zigzag((large++)->value) : planes.bytes()[place];
}

// Calls use(place, z) for each place where `bytes`, which are those of the planes or their symbols, is kDirect or more, in
// order. In symbols that is where raw bits follow: also for a small z where its context does not hold it.
template <class Use>
void for_each_beyond_direct(const BytePlanes& bytes, const BytePlanes& planes, Use use) {
  auto large = planes.large.begin();
  auto next = [&](std::size_t at) { return find_byte(bytes.bytes(), at, bytes.size(), kDirect); };
  for (std::size_t n = next(0); n < bytes.size(); n = next(n + 1)) use(n, zigzag_at(planes, n, large));
}

BytePlanes to_symbols(const BytePlanes& planes) {
  BytePlanes symbols(planes.size());
  std::copy_n(planes.bytes(), planes.size(), symbols.bytes());
  std::fill_n(symbols.bytes() + planes.size(), kSlack, std::uint8_t{0});
  for_each_beyond_direct(planes, planes, [&](std::size_t place, std::uint32_t zigzag) {
    symbols.bytes()[place] = static_cast<std::uint8_t>(to_symbol(zigzag));
  });
  return symbols;
}

// The level next to 5/4 of the mean magnitude of frequency (0,0): one level more or less is a factor of 1.41.
int choose_base(const std::uint8_t* symbols, std::size_t blocks) {
  std::uint64_t sum = 0;
  for (std::size_t n = 0; n < blocks; ++n) sum += magnitude(symbols[n]);
  int level = 0;
  while (level + 1 < kBaseLevels && base_of(level + 1) * blocks * 27 / 32 <= 80 * sum) ++level;
  return level;
}

int last_diagonal(const std::uint8_t* symbols, const Layout& layout) {
  const std::size_t blocks = layout.blocks(), used = size_without_zeros(symbols, layout.channel_size());
  int diagonals = 0;
  while (static_cast<std::size_t>(triangle_size(diagonals + 1)) * blocks < used) ++diagonals;
  return diagonals;
}

struct Encoding {
  explicit Encoding(BytePlanes all_symbols) : symbols(std::move(all_symbols)), contexts(symbols.size()) {}

  std::vector<ChannelHead> heads;
  BytePlanes symbols, contexts;
  std::vector<Run> runs;
};

Encoding find_encoding(BytePlanes symbols, const Layout& layout, const std::vector<ChannelHead>& heads,
                       const Interrupt& interrupt) {
  Encoding encoding(std::move(symbols));
  encoding.heads = heads;
  HWY_DYNAMIC_DISPATCH(find_contexts)
  (layout, heads.data(), encoding.symbols.bytes(), encoding.contexts.bytes(), encoding.runs, interrupt);
  return encoding;
}

std::vector<ChannelHead> choose_heads(const BytePlanes& symbols, const Layout& layout) {
  std::vector<ChannelHead> heads;
  for (int c = 0; c < layout.channels; ++c) {
    const std::uint8_t* plane = symbols.bytes() + c * layout.channel_size();
    heads.push_back({choose_base(plane, layout.blocks()), last_diagonal(plane, layout), 0});
  }
  return heads;
}

// The cost of each channel, in the tables' units.
std::vector<std::uint64_t> costs(const BytePlanes& planes, const Encoding& encoding, const Layout& layout) {
  const auto& table = cost_table();
  std::vector<std::uint64_t> sums(std::size_t(layout.channels));
  for (const Run& run : encoding.runs) {
    std::uint64_t sum = 0;
    for (std::size_t n = run.begin; n < run.begin + run.count; ++n) {
      sum += table[encoding.contexts.bytes()[n]][encoding.symbols.bytes()[n]];
    }
    sums[run.begin / layout.channel_size()] += sum;
  }
  for_each_beyond_direct(encoding.symbols, planes, [&](std::size_t place, std::uint32_t zigzag) {
    const int symbol = encoding.symbols.bytes()[place];
    const int bits = symbol == kEscape ? kLengthBits + std::bit_width(zigzag) : raw_bits(symbol);
    sums[place / layout.channel_size()] += static_cast<std::uint64_t>(bits) * kCostOfABit;
  });
  return sums;
}

// Tries every gain; a channel's contexts do not depend on the gains of the others, but for what escapes hide of its sizes.
Encoding find_cheapest(const BytePlanes& planes, const BytePlanes& symbols, const Layout& layout,
                       const std::vector<ChannelHead>& heads, const Interrupt& interrupt) {
  auto encoded = [&](const std::vector<ChannelHead>& with) {
    return find_encoding(symbols.copy(), layout, with, interrupt);
  };
  std::vector<ChannelHead> best = heads, tried = heads;
  std::vector<std::uint64_t> least = costs(planes, encoded(heads), layout);
  for (int gain = 1; gain < kGains; ++gain) {
    for (ChannelHead& head : tried) head.gain = gain;
    const std::vector<std::uint64_t> cost = costs(planes, encoded(tried), layout);
    for (std::size_t c = 0; c < cost.size(); ++c) {
      if (cost[c] >= least[c]) continue;
      least[c] = cost[c];
      best[c].gain = gain;
    }
  }
  return encoded(best);
}

void put_raw_bits(std::uint32_t zigzag, int symbol, BitWriter& raw) {
  if (symbol == kEscape) {
    const int length = std::bit_width(zigzag);
    raw.put(static_cast<std::uint32_t>(length), kLengthBits);
    raw.put(zigzag, length);
  } else {
    raw.put(zigzag - least_zigzag(symbol), raw_bits(symbol));
  }
}

std::vector<std::uint8_t> write_raw_bits(const BytePlanes& planes, const BytePlanes& symbols) {
  BitWriter raw;
  for_each_beyond_direct(symbols, planes, [&](std::size_t place, std::uint32_t zigzag) {
    put_raw_bits(zigzag, symbols.bytes()[place], raw);
  });
  return raw.finish();
}

// The coder runs backwards: what is pushed last is popped first. So the words are filled in from the end.
class StateMachine {
 public:
  // raw: the bytes that the states begin with (for the decoder, end with), 2 a lane; fewer are filled up with zeros.
  StateMachine(int lanes, std::span<const std::uint8_t> raw, std::size_t symbols)
      : words_(std::make_unique_for_overwrite<std::uint16_t[]>(symbols)), end_(words_.get() + symbols), first_(end_) {
    for (std::size_t lane = 0; lane < std::size_t(lanes); ++lane) {
      auto byte = [&](std::size_t at) { return at < raw.size() ? std::uint32_t{raw[at]} : 0u; };
      states_[lane] = kLowest | byte(2 * lane) | byte(2 * lane + 1) << 8;
    }
  }

  void push(std::size_t lane, const Range& range) {
    std::uint32_t state = states_[lane];
    if (state >> (32 - kProbabilityBits) >= range.frequency) {
      *--first_ = static_cast<std::uint16_t>(state);
      state >>= 16;
    }
    const std::uint32_t quotient = range.divide(state);
    states_[lane] = state + quotient * (kSlots - range.frequency) + range.first;
  }

  std::uint32_t state(int lane) const { return states_[lane]; }
  std::span<const std::uint16_t> words() const { return {first_, end_}; }

 private:
  std::unique_ptr<std::uint16_t[]> words_;
  std::uint16_t *end_, *first_;
  std::uint32_t states_[kMaxLanes];
};

void push_all(const Encoding& encoding, int lanes, StateMachine& machine, const Interrupt& interrupt) {
  const auto& ranges = encoding_table();
  const std::size_t mask = static_cast<std::size_t>(lanes) - 1;
  for (auto run = encoding.runs.rbegin(); run != encoding.runs.rend(); ++run) {
    interrupt.check();
    const std::uint8_t *contexts = encoding.contexts.bytes() + run->begin, *symbols = encoding.symbols.bytes() + run->begin;
    for (std::size_t e = run->count; e-- > 0;) machine.push(e & mask, ranges[contexts[e]][symbols[e]]);
  }
}

std::vector<std::uint8_t> write_heads(const Encoding& encoding, const Layout& layout, const StateMachine& machine,
                                      int lanes) {
  BitWriter bits;
  for (const ChannelHead& head : encoding.heads) {
    bits.put(static_cast<std::uint32_t>(head.base), kBaseBits);
    bits.put(static_cast<std::uint32_t>(head.diagonals), diagonal_bits(layout.kept));
    bits.put(static_cast<std::uint32_t>(head.gain), kGainBits);
  }
  for (int lane = 0; lane < lanes; ++lane) {
    const std::uint32_t high = machine.state(lane) >> 16;
    const int length = std::bit_width(high) - 1;
    bits.put(static_cast<std::uint32_t>(length), 4);
    bits.put(high - (1u << length), length);
    bits.put(machine.state(lane) & 0xFFFF, 16);
  }
  return bits.finish();
}

}  // namespace

void encode(const BytePlanes& planes, const Layout& layout, Effort effort, std::vector<std::uint8_t>& out,
            const Interrupt& interrupt) {
  BytePlanes symbols = to_symbols(planes);
  const std::vector<ChannelHead> chosen = choose_heads(symbols, layout);
  const Encoding encoding = effort == Effort::fast ? find_encoding(std::move(symbols), layout, chosen, interrupt)
                                                   : find_cheapest(planes, symbols, layout, chosen, interrupt);
  const std::vector<std::uint8_t> raw_bytes = write_raw_bits(planes, encoding.symbols);
  const std::span<const std::uint8_t> raw = raw_bytes;

  const std::size_t coded = coded_symbols(layout, chosen.data());
  const int lanes = lanes_for(coded);
  const std::size_t in_states = std::min(raw.size(), 2 * std::size_t(lanes));
  StateMachine machine(lanes, raw.first(in_states), coded);
  push_all(encoding, lanes, machine, interrupt);
  const std::vector<std::uint8_t> heads = write_heads(encoding, layout, machine, lanes);
  out.reserve(out.size() + heads.size() + 2 * machine.words().size() + raw.size() - in_states);
  out.insert(out.end(), heads.begin(), heads.end());
  for (const std::uint16_t word : machine.words()) {
    out.push_back(static_cast<std::uint8_t>(word));
    out.push_back(static_cast<std::uint8_t>(word >> 8));
  }
  out.insert(out.end(), raw.begin() + static_cast<std::ptrdiff_t>(in_states), raw.end());
}

Contexts contexts_of(const BytePlanes& planes, const Layout& layout) {
  const BytePlanes symbols = to_symbols(planes);  // as they are before some become escapes
  const Encoding encoding = find_encoding(symbols.copy(), layout, choose_heads(symbols, layout), Interrupt{});
  Contexts result;
  for (const Run& run : encoding.runs) {
    const std::uint8_t *own = symbols.bytes() + run.begin, *contexts = encoding.contexts.bytes() + run.begin;
    result.symbols.insert(result.symbols.end(), own, own + run.count);
    result.contexts.insert(result.contexts.end(), contexts, contexts + run.count);
  }
  return result;
}

}  // namespace imagecalc::rans
#endif
