#include "codec/rans.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "codec/bits.h"
#include "codec/corrupt.h"
#include "codec/rans_heads.h"
#include "codec/rans_tables.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/rans_decode.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "codec/rans_walk-inl.h"

#ifndef IMAGECALC_CODEC_RANS_DECODE_ONCE
#define IMAGECALC_CODEC_RANS_DECODE_ONCE
namespace imagecalc::rans {

constexpr int kMaxVector = 16;  // lanes of 32 bits that one step may use

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

}  // namespace imagecalc::rans
#endif

HWY_BEFORE_NAMESPACE();
namespace imagecalc::rans {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

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
void decode_lanes(const Layout& layout, const ChannelHead* heads, Decoder& decoder, std::uint8_t* symbols,
                  const Interrupt& interrupt) {
  const hn::CappedTag<std::uint32_t, std::min(kLanes, kMaxVector)> d;
  walk(layout, heads, symbols, interrupt, [&](const std::uint16_t* expected, std::size_t count, std::uint8_t* run) HWY_ATTR {
    const std::uint32_t* table = decoder.table;
    const std::uint8_t *next = decoder.next, *end = decoder.end;
    alignas(64) std::uint32_t states[kLanes];  // nothing aliases them: one vector of them stays in a register
    for (int lane = 0; lane < kLanes; lane += hn::Lanes(d)) hn::Store(hn::Load(d, decoder.states + lane), d, states + lane);
    const auto at_lane = [&](std::size_t at) { return states + (kLanes == hn::MaxLanes(d) ? 0 : at % kLanes); };
    std::size_t at = 0;
    for (; at + hn::Lanes(d) <= count && next <= end; at += hn::Lanes(d)) {
      next = decode_step<true>(d, table, next, expected + at, 0, at_lane(at), run + at);
    }
    if (at < count && next <= end) {
      next = decode_step<false>(d, table, next, expected + at, count - at, at_lane(at), run + at);
    }
    if (next > end) corrupt("its payload ends early");
    for (int lane = 0; lane < kLanes; lane += hn::Lanes(d)) hn::Store(hn::Load(d, states + lane), d, decoder.states + lane);
    decoder.next = next;
  });
}

void decode_symbols(const Layout& layout, const ChannelHead* heads, int lanes, Decoder& decoder, std::uint8_t* symbols,
                    const Interrupt& interrupt) {
  switch (lanes) {
    case 4:
      return decode_lanes<4>(layout, heads, decoder, symbols, interrupt);
    case 8:
      return decode_lanes<8>(layout, heads, decoder, symbols, interrupt);
    case 16:
      return decode_lanes<16>(layout, heads, decoder, symbols, interrupt);
    default:
      return decode_lanes<kMaxLanes>(layout, heads, decoder, symbols, interrupt);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace imagecalc::rans
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace imagecalc::rans {

HWY_EXPORT(decode_symbols);

namespace {

using Heads = std::array<ChannelHead, kMaxChannels>;

Heads read_channel_heads(BitReader& bits, const Layout& layout) {
  Heads heads{};
  for (int c = 0; c < layout.channels; ++c) {
    heads[c].base = static_cast<int>(bits.take(kBaseBits));
    heads[c].diagonals = static_cast<int>(bits.take(diagonal_bits(layout.kept)));
    heads[c].gain = static_cast<int>(bits.take(kGainBits));
    if (heads[c].base >= kBaseLevels || heads[c].diagonals >= layout.kept) corrupt("its payload begins wrongly");
  }
  return heads;
}

void read_lane_heads(BitReader& bits, int lanes, std::uint32_t* states) {
  for (int lane = 0; lane < lanes; ++lane) {
    const int length = static_cast<int>(bits.take(4));
    const std::uint32_t high = 1u << length | bits.take(length);
    states[lane] = high << 16 | bits.take(16);
  }
  if (bits.exhausted() || !bits.rest_is_zero()) corrupt("its payload begins wrongly");
}

// What is coded costs at least log2(1024 / 1020) bits a symbol, 1/177.
void check_plausible(std::size_t payload_size, std::size_t symbols) {
  constexpr std::size_t kSymbolsPerByte = 2048;
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

BytePlanes decode(Bytes payload, const Layout& layout, const Interrupt& interrupt) {
  BitReader bits(payload);
  const Heads heads = read_channel_heads(bits, layout);
  const std::size_t symbols = coded_symbols(layout, heads.data());
  check_plausible(payload.size(), symbols);
  const int lanes = lanes_for(symbols);
  Decoder decoder;
  decoder.table = decoding_table();
  read_lane_heads(bits, lanes, decoder.states);
  const Bytes words = payload.subspan(bits.bytes_read());
  const auto padded = std::make_unique_for_overwrite<std::uint8_t[]>(words.size() + kSlack);
  std::copy(words.begin(), words.end(), padded.get());
  std::fill_n(padded.get() + words.size(), kSlack, std::uint8_t{0});
  decoder.next = padded.get();
  decoder.end = padded.get() + words.size();

  BytePlanes planes(layout.size());
  HWY_DYNAMIC_DISPATCH(decode_symbols)(layout, heads.data(), lanes, decoder, planes.bytes(), interrupt);
  const std::vector<std::uint8_t> raw = collect_raw(decoder, lanes);
  BitReader reader(raw);
  take_raw_bits(reader, planes);
  check_end(reader, raw, 2 * std::size_t(lanes));
  return planes;
}

}  // namespace imagecalc::rans
#endif
