#include "codec/rans.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "codec/bits.h"
#include "codec/corrupt.h"
#include "codec/rans_tables.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/rans.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef IMAGECALC_CODEC_RANS_ONCE
#define IMAGECALC_CODEC_RANS_ONCE
namespace imagecalc::rans {

constexpr int kMaxLanes = 32;
constexpr std::uint32_t kLowest = 1u << 16;         // of a state
constexpr int kMaxVector = 16;                      // lanes of 32 bits that one step may use
constexpr std::size_t kSlack = BytePlanes::kSlack;  // elements after every buffer that vectors may touch
constexpr int kBaseLevels = 24, kBaseBits = 5;
constexpr int kMaxChannels = 3;

// One lane more costs about 2 bytes and saves time only where there are symbols enough.
constexpr int lanes_for(std::size_t symbols) { return symbols < 512 ? 4 : symbols < 4096 ? 8 : symbols < 8192 ? 16 : 32; }

constexpr std::uint32_t base_of(int level) { return (level % 2 ? 181u : 128u) << level / 2 >> 5; }

constexpr std::uint32_t magnitude(std::uint32_t symbol) { return (symbol + 1) / 2 + (symbol > 17 ? 4 * (symbol - 17) : 0); }

// Where the words that a step takes must go: for each mask of 8 lanes, the number of words before each lane.
struct WordPlaces {
  alignas(8) std::uint8_t before[256][8];
};
constexpr WordPlaces make_word_places() {
  WordPlaces places{};
  for (unsigned mask = 0; mask < 256; ++mask) {
    for (unsigned lane = 0, count = 0; lane < 8; ++lane) {
      places.before[mask][lane] = static_cast<std::uint8_t>(count);
      count += mask >> lane & 1;
    }
  }
  return places;
}
inline constexpr WordPlaces kWordPlaces = make_word_places();

struct Decoder {
  alignas(64) std::uint32_t states[kMaxLanes];
  const std::uint8_t *next, *end;  // the words; kSlack bytes after end may be read
  const std::uint32_t* table;
};

// What the encoder chooses for each channel: the level of base_of() for its frequency (0,0), how many diagonals are coded
// after that (the coefficients of the others are 0), and what the sizes expected there are multiplied by.
struct ChannelHead {
  int base, diagonals, gain;
};
constexpr std::uint16_t kGains[] = {32768, 23170, 46341, 65535};  // in 2^15ths: 1, sqrt(1/2), sqrt(2), 2
constexpr int kGainBits = 2;

// Symbols that do not depend on one another.
struct Run {
  std::size_t begin, count;
};

}  // namespace imagecalc::rans
#endif

HWY_BEFORE_NAMESPACE();
namespace imagecalc::rans {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// ---- what is expected

using D16 = hn::CappedTag<std::uint16_t, 32>;
using Half8 = hn::Rebind<std::uint8_t, D16>;
using V16 = hn::Vec<D16>;

// Magnitudes of symbols, see magnitude().
template <class V>
HWY_INLINE V magnitudes(V symbols) {
  const hn::DFromV<V> d;
  const V above = hn::SaturatedSub(symbols, hn::Set(d, 17));
  const V twice = hn::Add(above, above);
  return hn::Add(hn::AverageRound(symbols, hn::Zero(d)), hn::Add(twice, twice));
}

HWY_INLINE V16 wide_magnitudes(const std::uint8_t* symbols) {
  return hn::PromoteTo(D16(), magnitudes(hn::LoadU(Half8(), symbols)));
}

// north: the symbols of the row before, with the first and the last one repeated at the ends; before: those of the channel
// before. Either may be absent.
void expect_row(std::uint32_t base, const std::uint8_t* north, const std::uint8_t* before, std::size_t count,
                std::uint16_t* expected) {
  const D16 d;
  const V16 alone = hn::Set(d, static_cast<std::uint16_t>(north ? base : base + base * 5 / 8));
  for (std::size_t at = 0; at < count; at += hn::Lanes(d)) {
    V16 sum = alone;
    if (north) {
      const V16 middle = wide_magnitudes(north + at + 1);
      const V16 four =
          hn::Add(hn::Add(middle, middle), hn::Add(wide_magnitudes(north + at), wide_magnitudes(north + at + 2)));
      sum = hn::Add(sum, hn::Add(hn::ShiftLeft<3>(four), hn::ShiftLeft<2>(four)));
    }
    if (before) {
      const V16 other = wide_magnitudes(before + at);
      sum = hn::Add(sum, hn::Add(hn::ShiftLeft<3>(other), hn::Add(other, other)));
    }
    hn::StoreU(sum, d, expected + at);
  }
}

// The energies of a diagonal, with those of its two ends repeated once: [blocks][count][blocks].
class Energies {
 public:
  explicit Energies(const Layout& layout)
      : blocks_(layout.blocks()),
        values_(std::make_unique_for_overwrite<std::uint16_t[]>((layout.kept + 2) * blocks_ + kSlack)) {}

  std::uint16_t* values() { return values_.get() + blocks_; }
  const std::uint16_t* padded() const { return values_.get(); }
  void repeat_ends(std::size_t count) {
    std::copy_n(values(), blocks_, values_.get());
    std::copy_n(values() + count - blocks_, blocks_, values() + count);
  }

 private:
  std::size_t blocks_;
  std::unique_ptr<std::uint16_t[]> values_;
};

HWY_INLINE V16 mean_of_neighbours(const Energies& energies, std::size_t blocks, std::size_t at) {
  const D16 d;
  return hn::AverageRound(hn::LoadU(d, energies.padded() + at), hn::LoadU(d, energies.padded() + at + blocks));
}

// luma, before: the symbols of the same places in Y and in the channel before.
void expect_diagonal(const Energies& energies, std::size_t blocks, std::size_t count, std::uint16_t general, int channel,
                     std::uint16_t gain, const std::uint8_t* luma, const std::uint8_t* before, std::uint16_t* expected) {
  const D16 d;
  const V16 mean_before = hn::Set(d, general), factor = hn::Set(d, gain);
  for (std::size_t at = 0; at < count; at += hn::Lanes(d)) {
    V16 sum = hn::Add(mean_of_neighbours(energies, blocks, at), mean_before);
    if (channel == 1) {
      sum = hn::ShiftRight<2>(hn::Add(sum, hn::Add(sum, sum)));
      sum = hn::Add(sum, hn::ShiftLeft<3>(wide_magnitudes(luma + at)));
    } else if (channel == 2) {
      sum = hn::ShiftRight<3>(hn::Add(sum, hn::ShiftLeft<2>(sum)));
      sum = hn::Add(sum, hn::ShiftLeft<3>(wide_magnitudes(luma + at)));
      const V16 close = wide_magnitudes(before + at);
      sum = hn::Add(sum, hn::Sub(hn::ShiftLeft<5>(close), hn::ShiftLeft<2>(close)));
    }
    hn::StoreU(hn::MulHigh(hn::Add(sum, sum), factor), d, expected + at);
  }
}

// The energies of frequency (0,0).
void first_energies(const std::uint8_t* symbols, std::size_t count, Energies& energies) {
  const D16 d;
  for (std::size_t at = 0; at < count; at += hn::Lanes(d)) {
    hn::StoreU(hn::ShiftLeft<4>(wide_magnitudes(symbols + at)), d, energies.values() + at);
  }
  energies.repeat_ends(count);
}

// From the energies of the diagonal before to those of this one.
void next_energies(const Energies& from, std::size_t blocks, const std::uint8_t* symbols, std::size_t count, Energies& to) {
  const D16 d;
  for (std::size_t at = 0; at < count; at += hn::Lanes(d)) {
    const V16 own = hn::ShiftLeft<5>(wide_magnitudes(symbols + at));
    hn::StoreU(hn::Add(own, hn::ShiftRight<1>(mean_of_neighbours(from, blocks, at))), d, to.values() + at);
  }
  to.repeat_ends(count);
}

std::uint64_t sum_of_magnitudes(const std::uint8_t* symbols, std::size_t count) {
  const hn::CappedTag<std::uint8_t, 64> d;
  const hn::Repartition<std::uint64_t, decltype(d)> d64;
  auto sums = hn::Zero(d64);
  std::size_t at = 0;
  for (; at + hn::Lanes(d) <= count; at += hn::Lanes(d)) {
    sums = hn::Add(sums, hn::SumsOf8(magnitudes(hn::LoadU(d, symbols + at))));
  }
  std::uint64_t sum = hn::GetLane(hn::SumOfLanes(d64, sums));
  for (; at < count; ++at) sum += magnitude(symbols[at]);
  return sum;
}

// Goes through all runs in order. code(expected, count, symbols) decodes a run's symbols, or notes what was expected of
// them. symbols: layout.size() and kSlack more.
template <class Code>
void walk(const Layout& layout, const ChannelHead* heads, std::uint8_t* symbols, Code code) {
  const std::size_t blocks = layout.blocks(), channel_size = layout.channel_size();
  const std::size_t longest = std::max(blocks * layout.kept, std::size_t(layout.blocks_across));
  const auto expected = std::make_unique_for_overwrite<std::uint16_t[]>(longest + kSlack);
  const auto north = std::make_unique_for_overwrite<std::uint8_t[]>(std::size_t(layout.blocks_across) + 2 + kSlack);
  Energies energies(layout), next(layout);
  for (int c = 0; c < layout.channels; ++c) {
    std::uint8_t* own = symbols + c * channel_size;
    const std::uint8_t *luma = symbols, *before = own - (c > 0 ? channel_size : 0);
    const std::size_t across = layout.blocks_across;
    for (int down = 0; down < layout.blocks_down; ++down, own += across, before += across) {
      expect_row(base_of(heads[c].base), down > 0 ? north.get() : nullptr, c > 0 ? before : nullptr, across, expected.get());
      code(expected.get(), across, own);
      north[0] = own[0];
      std::copy_n(own, across, north.get() + 1);
      north[across + 1] = own[across - 1];
    }
    first_energies(own - blocks, blocks, energies);
    std::uint64_t general = 48 * sum_of_magnitudes(own - blocks, blocks) / blocks;
    luma += blocks;
    for (int diagonal = 1; diagonal <= heads[c].diagonals; ++diagonal) {
      const std::size_t count = (diagonal + 1) * blocks;
      expect_diagonal(energies, blocks, count, static_cast<std::uint16_t>(general), c, kGains[heads[c].gain], luma, before,
                      expected.get());
      code(expected.get(), count, own);
      next_energies(energies, blocks, own, count, next);
      general = 32 * sum_of_magnitudes(own, count) / count;
      std::swap(energies, next);
      own += count;
      before += count;
      luma += count;
    }
    std::fill(own, symbols + (c + 1) * channel_size, std::uint8_t{0});
  }
}

// ---- decoding

// For each lane how many of the mask's lanes come before it.
template <class D>
HWY_INLINE hn::Vec<D> word_places(D d, std::uint64_t mask) {
  const hn::Rebind<std::uint8_t, D> d8;
  if constexpr (hn::MaxLanes(D()) <= 8) {
    return hn::PromoteTo(d, hn::LoadU(d8, kWordPlaces.before[mask]));
  } else {
    alignas(16) std::uint64_t places[2];
    std::memcpy(&places[0], kWordPlaces.before[mask & 255], 8);
    std::memcpy(&places[1], kWordPlaces.before[mask >> 8], 8);
    places[1] += 0x0101010101010101u * hwy::PopCount(mask & 255);
    return hn::PromoteTo(d, hn::LoadU(d8, reinterpret_cast<const std::uint8_t*>(places)));
  }
}

// table[places], lane by lane. AVX2's own instruction for that is slower than the loads one by one on many CPUs.
template <class D>
HWY_INLINE hn::Vec<D> look_up(D d, const std::uint32_t* table, hn::Vec<D> places) {
#if HWY_TARGET == HWY_AVX2
  if constexpr (hn::MaxLanes(d) == 8) {
    const __m128i low = _mm256_castsi256_si128(places.raw), high = _mm256_extracti128_si256(places.raw, 1);
    const std::uint64_t pairs[] = {std::uint64_t(_mm_cvtsi128_si64(low)), std::uint64_t(_mm_extract_epi64(low, 1)),
                                   std::uint64_t(_mm_cvtsi128_si64(high)), std::uint64_t(_mm_extract_epi64(high, 1))};
    auto first = [&](int pair) { return static_cast<int>(table[static_cast<std::uint32_t>(pairs[pair])]); };
    auto second = [&](int pair) { return static_cast<int>(table[pairs[pair] >> 32]); };
    return hn::Vec<D>{_mm256_setr_epi32(first(0), second(0), first(1), second(1), first(2), second(2), first(3), second(3))};
  }
#endif
  return hn::GatherIndex(d, table, hn::BitCast(hn::RebindToSigned<D>(), places));
}

// Decodes a vector's worth of symbols with the states at `states`; of the last vector of a run, only the first `count`.
// Returns where the next words are.
template <bool kWhole, class D>
HWY_INLINE const std::uint8_t* decode_step(D d, const std::uint32_t* table, const std::uint8_t* next,
                                           const std::uint16_t* expected, std::size_t count, std::uint32_t* states,
                                           std::uint8_t* symbols) {
  const hn::RebindToFloat<D> df;
  const hn::RebindToSigned<D> di;
  const hn::Rebind<std::uint16_t, D> d16;
  const auto size = hn::Add(hn::PromoteTo(d, hn::LoadU(d16, expected)), hn::Set(d, 2));
  auto context = hn::Sub(hn::ShiftRight<22>(hn::BitCast(d, hn::ConvertTo(df, hn::BitCast(di, size)))), hn::Set(d, 256));
  if constexpr (!kWhole) context = hn::IfThenElseZero(hn::FirstN(d, count), context);  // behind a run may stand anything
  const auto state = hn::Load(d, states);
  const auto slot = hn::And(state, hn::Set(d, kSlots - 1));
  const auto entry = look_up(d, table, hn::Add(hn::ShiftLeft<kProbabilityBits>(context), slot));
  hn::StoreU(hn::U8FromU32(hn::And(entry, hn::Set(d, 63))), hn::Rebind<std::uint8_t, D>(), symbols);

  const auto frequency = hn::And(hn::ShiftRight<6>(entry), hn::Set(d, 1023));
  auto fresh = hn::Add(hn::Mul(frequency, hn::ShiftRight<kProbabilityBits>(state)), hn::ShiftRight<16>(entry));
  auto is_low = hn::Eq(hn::ShiftRight<16>(fresh), hn::Zero(d));
  if constexpr (!kWhole) is_low = hn::And(is_low, hn::FirstN(d, count));
  std::uint8_t bits[8] = {};
  hn::StoreMaskBits(d, is_low, bits);
  const std::uint64_t mask = hn::MaxLanes(d) <= 8 ? bits[0] : bits[0] | bits[1] << 8;
  const auto words = hn::PromoteTo(d, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(next)));
  const auto own_word = hn::TableLookupLanes(words, hn::IndicesFromVec(d, word_places(d, mask)));
  fresh = hn::IfThenElse(is_low, hn::Or(hn::ShiftLeft<16>(fresh), own_word), fresh);
  if constexpr (!kWhole) fresh = hn::IfThenElse(hn::FirstN(d, count), fresh, state);
  hn::Store(fresh, d, states);
  return next + 2 * hwy::PopCount(mask);
}

template <int kLanes>
void decode_lanes(const Layout& layout, const ChannelHead* heads, Decoder& decoder, std::uint8_t* symbols) {
  const hn::CappedTag<std::uint32_t, std::min(kLanes, kMaxVector)> d;
  walk(layout, heads, symbols, [&](const std::uint16_t* expected, std::size_t count, std::uint8_t* run) HWY_ATTR {
    const std::uint32_t* table = decoder.table;
    const std::uint8_t *next = decoder.next, *end = decoder.end;
    std::uint32_t* states = decoder.states;
    std::size_t at = 0;
    for (; at + hn::Lanes(d) <= count && next <= end; at += hn::Lanes(d)) {
      next = decode_step<true>(d, table, next, expected + at, 0, states + at % kLanes, run + at);
    }
    if (at < count && next <= end) {
      next = decode_step<false>(d, table, next, expected + at, count - at, states + at % kLanes, run + at);
    }
    if (next > end) corrupt("its payload ends early");
    decoder.next = next;
  });
}

void decode_symbols(const Layout& layout, const ChannelHead* heads, Decoder& decoder, std::uint8_t* symbols) {
  switch (lanes_for(layout.size())) {
    case 4:
      return decode_lanes<4>(layout, heads, decoder, symbols);
    case 8:
      return decode_lanes<8>(layout, heads, decoder, symbols);
    case 16:
      return decode_lanes<16>(layout, heads, decoder, symbols);
    default:
      return decode_lanes<kMaxLanes>(layout, heads, decoder, symbols);
  }
}

// ---- encoding

// contexts: one for each symbol of the runs. Symbols that their context does not hold become escapes.
void find_contexts(const Layout& layout, const ChannelHead* heads, std::uint8_t* symbols, std::uint8_t* contexts,
                   std::vector<Run>& runs) {
  const std::uint64_t* held = held_symbols();
  walk(layout, heads, symbols, [&](const std::uint16_t* expected, std::size_t count, std::uint8_t* run) {
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

HWY_EXPORT(decode_symbols);
HWY_EXPORT(find_contexts);

namespace {

// ---- encoding

std::uint32_t zigzag_at(const BytePlanes& planes, std::size_t place, std::vector<BytePlanes::Large>::const_iterator& large) {
  return planes.bytes()[place] == BytePlanes::kLarge ? to_zigzag((large++)->value) : planes.bytes()[place];
}

// Calls use(place, z) for each z from kDirect on, in order.
template <class Use>
void for_each_beyond_direct(const BytePlanes& planes, Use use) {
  auto large = planes.large.begin();
  auto next = [&](std::size_t at) { return find_byte(planes.bytes(), at, planes.size(), kDirect); };
  for (std::size_t n = next(0); n < planes.size(); n = next(n + 1)) use(n, zigzag_at(planes, n, large));
}

BytePlanes to_symbols(const BytePlanes& planes) {
  BytePlanes symbols(planes.size());
  std::copy_n(planes.bytes(), planes.size(), symbols.bytes());
  std::fill_n(symbols.bytes() + planes.size(), kSlack, std::uint8_t{0});
  for_each_beyond_direct(planes, [&](std::size_t place, std::uint32_t zigzag) {
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

Encoding find_encoding(BytePlanes symbols, const Layout& layout, const std::vector<ChannelHead>& heads) {
  Encoding encoding(std::move(symbols));
  encoding.heads = heads;
  HWY_DYNAMIC_DISPATCH(find_contexts)
  (layout, heads.data(), encoding.symbols.bytes(), encoding.contexts.bytes(), encoding.runs);
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
std::vector<std::uint64_t> costs(const Encoding& encoding, const Layout& layout) {
  const auto& table = cost_table();
  std::vector<std::uint64_t> sums(std::size_t(layout.channels));
  for (const Run& run : encoding.runs) {
    std::uint64_t sum = 0;
    for (std::size_t n = run.begin; n < run.begin + run.count; ++n) {
      sum += table[encoding.contexts.bytes()[n]][encoding.symbols.bytes()[n]];
    }
    sums[run.begin / layout.channel_size()] += sum;
  }
  return sums;
}

// Tries every gain; a channel's contexts do not depend on the gains of the others, but for what escapes hide of its sizes.
Encoding find_cheapest(const BytePlanes& planes, const Layout& layout, const std::vector<ChannelHead>& heads,
                       const Interrupt& interrupt) {
  std::vector<ChannelHead> best = heads, tried = heads;
  std::vector<std::uint64_t> least = costs(find_encoding(to_symbols(planes), layout, heads), layout);
  for (int gain = 1; gain < static_cast<int>(std::size(kGains)); ++gain) {
    interrupt.check();
    for (ChannelHead& head : tried) head.gain = gain;
    const std::vector<std::uint64_t> cost = costs(find_encoding(to_symbols(planes), layout, tried), layout);
    for (std::size_t c = 0; c < cost.size(); ++c) {
      if (cost[c] >= least[c]) continue;
      least[c] = cost[c];
      best[c].gain = gain;
    }
  }
  return find_encoding(to_symbols(planes), layout, best);
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

// A symbol that is none of its context's is an escape, so there can be raw bits for small z as well.
std::vector<std::uint8_t> write_raw_bits(const BytePlanes& planes, const BytePlanes& symbols) {
  BitWriter raw;
  auto large = planes.large.begin();
  auto next = [&](std::size_t at) { return find_byte(symbols.bytes(), at, symbols.size(), kDirect); };
  for (std::size_t n = next(0); n < symbols.size(); n = next(n + 1)) {
    put_raw_bits(zigzag_at(planes, n, large), symbols.bytes()[n], raw);
  }
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

void push_all(const Encoding& encoding, int lanes, StateMachine& machine) {
  const auto& ranges = encoding_table();
  const std::size_t mask = static_cast<std::size_t>(lanes) - 1;
  for (auto run = encoding.runs.rbegin(); run != encoding.runs.rend(); ++run) {
    const std::uint8_t *contexts = encoding.contexts.bytes() + run->begin, *symbols = encoding.symbols.bytes() + run->begin;
    for (std::size_t e = run->count; e-- > 0;) machine.push(e & mask, ranges[contexts[e]][symbols[e]]);
  }
}

int diagonal_bits(const Layout& layout) { return std::bit_width(static_cast<unsigned>(layout.kept - 1)); }

std::vector<std::uint8_t> write_heads(const Encoding& encoding, const Layout& layout, const StateMachine& machine,
                                      int lanes) {
  BitWriter bits;
  for (const ChannelHead& head : encoding.heads) {
    bits.put(static_cast<std::uint32_t>(head.base), kBaseBits);
    bits.put(static_cast<std::uint32_t>(head.diagonals), diagonal_bits(layout));
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

// ---- decoding

struct Heads {
  std::array<ChannelHead, kMaxChannels> channels;
  std::size_t size;  // bytes
};

Heads read_heads(Bytes payload, const Layout& layout, int lanes, std::uint32_t* states) {
  Heads heads{};
  BitReader bits(payload);
  for (int c = 0; c < layout.channels; ++c) {
    heads.channels[c].base = static_cast<int>(bits.take(kBaseBits));
    heads.channels[c].diagonals = static_cast<int>(bits.take(diagonal_bits(layout)));
    heads.channels[c].gain = static_cast<int>(bits.take(kGainBits));
    if (heads.channels[c].base >= kBaseLevels || heads.channels[c].diagonals >= layout.kept) {
      corrupt("its payload begins wrongly");
    }
  }
  for (int lane = 0; lane < lanes; ++lane) {
    const int length = static_cast<int>(bits.take(4));
    const std::uint32_t high = 1u << length | bits.take(length);
    states[lane] = high << 16 | bits.take(16);
  }
  if (bits.exhausted() || !bits.rest_is_zero()) corrupt("its payload begins wrongly");
  heads.size = bits.bytes_read();
  return heads;
}

// What is coded costs at least log2(1024 / 1020) bits a symbol, 1/177.
void check_plausible(std::size_t payload_size, const Layout& layout, const Heads& heads) {
  constexpr std::size_t kSymbolsPerByte = 2048;
  std::size_t symbols = 0;
  for (int c = 0; c < layout.channels; ++c) {
    symbols += static_cast<std::size_t>(triangle_size(heads.channels[c].diagonals + 1)) * layout.blocks();
  }
  if (symbols / kSymbolsPerByte > payload_size) corrupt("its payload is too short for its picture");
}

std::uint32_t take_zigzag(int symbol, BitReader& raw) {
  if (symbol > kEscape) return least_zigzag(symbol) + raw.take(raw_bits(symbol));
  const int length = static_cast<int>(raw.take(kLengthBits));
  if (length > 32) corrupt("a coefficient is too long");
  return raw.take(length);
}

// Turns symbols into zigzag bytes, in place.
void take_raw_bits(BitReader& raw, BytePlanes& planes) {
  auto next = [&](std::size_t at) { return find_byte(planes.bytes(), at, planes.size(), kDirect); };
  for (std::size_t n = next(0); n < planes.size(); n = next(n + 1)) {
    const std::uint32_t zigzag = take_zigzag(planes.bytes()[n], raw);
    if (raw.exhausted()) corrupt("its payload ends early");
    planes.bytes()[n] = static_cast<std::uint8_t>(std::min<std::uint32_t>(zigzag, BytePlanes::kLarge));
    if (zigzag >= BytePlanes::kLarge) planes.large.push_back({n, from_zigzag(zigzag)});
  }
}

// The raw bits: what the states end with, and what follows the words.
std::vector<std::uint8_t> collect_raw(const Decoder& decoder, int lanes) {
  std::vector<std::uint8_t> raw;
  for (int lane = 0; lane < lanes; ++lane) {
    if (decoder.states[lane] >> 16 != 1) corrupt("its payload ends wrongly");
    raw.push_back(static_cast<std::uint8_t>(decoder.states[lane]));
    raw.push_back(static_cast<std::uint8_t>(decoder.states[lane] >> 8));
  }
  raw.insert(raw.end(), decoder.next, decoder.end);
  return raw;
}

// Every byte must have been used, but for the zeros that fill up the states.
void check_end(const BitReader& reader, const std::vector<std::uint8_t>& raw, std::size_t in_states) {
  const std::size_t used = reader.bytes_read();
  const bool rest_is_zero =
      std::all_of(raw.begin() + static_cast<std::ptrdiff_t>(used), raw.end(), [](int b) { return b == 0; });
  if (raw.size() > std::max(used, in_states) || !rest_is_zero || !reader.rest_is_zero()) {
    corrupt("there are bytes after its payload");
  }
}

}  // namespace

void encode(const BytePlanes& planes, const Layout& layout, Effort effort, std::vector<std::uint8_t>& out,
            const Interrupt& interrupt) {
  BytePlanes symbols = to_symbols(planes);
  const std::vector<ChannelHead> chosen = choose_heads(symbols, layout);
  const Encoding encoding = effort == Effort::fast ? find_encoding(std::move(symbols), layout, chosen)
                                                   : find_cheapest(planes, layout, chosen, interrupt);
  const std::vector<std::uint8_t> raw_bytes = write_raw_bits(planes, encoding.symbols);
  const std::span<const std::uint8_t> raw = raw_bytes;

  const int lanes = lanes_for(planes.size());
  const std::size_t in_states = std::min(raw.size(), 2 * std::size_t(lanes));
  StateMachine machine(lanes, raw.first(in_states), planes.size());
  push_all(encoding, lanes, machine);
  const std::vector<std::uint8_t> heads = write_heads(encoding, layout, machine, lanes);
  out.reserve(out.size() + heads.size() + 2 * machine.words().size() + raw.size() - in_states);
  out.insert(out.end(), heads.begin(), heads.end());
  for (const std::uint16_t word : machine.words()) {
    out.push_back(static_cast<std::uint8_t>(word));
    out.push_back(static_cast<std::uint8_t>(word >> 8));
  }
  out.insert(out.end(), raw.begin() + static_cast<std::ptrdiff_t>(in_states), raw.end());
}

BytePlanes decode(Bytes payload, const Layout& layout) {
  const int lanes = lanes_for(layout.size());
  Decoder decoder;
  decoder.table = decoding_table();
  const Heads heads = read_heads(payload, layout, lanes, decoder.states);
  check_plausible(payload.size(), layout, heads);
  const Bytes words = payload.subspan(heads.size);
  const auto padded = std::make_unique_for_overwrite<std::uint8_t[]>(words.size() + kSlack);
  std::copy(words.begin(), words.end(), padded.get());
  std::fill_n(padded.get() + words.size(), kSlack, std::uint8_t{0});
  decoder.next = padded.get();
  decoder.end = padded.get() + words.size();

  BytePlanes planes(layout.size());
  HWY_DYNAMIC_DISPATCH(decode_symbols)(layout, heads.channels.data(), decoder, planes.bytes());
  const std::vector<std::uint8_t> raw = collect_raw(decoder, lanes);
  BitReader reader(raw);
  take_raw_bits(reader, planes);
  check_end(reader, raw, 2 * std::size_t(lanes));
  return planes;
}

Contexts contexts_of(const BytePlanes& planes, const Layout& layout) {
  const BytePlanes symbols = to_symbols(planes);  // as they are before some become escapes
  const Encoding encoding = find_encoding(to_symbols(planes), layout, choose_heads(symbols, layout));
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
