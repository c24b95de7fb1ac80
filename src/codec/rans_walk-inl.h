// The walk through coder 1's runs that encoder and decoder share, and what it expects of their symbols; compiled once a CPU
// path by the files that include this (Highway's foreach_target.h).
#if defined(IMAGECALC_CODEC_RANS_WALK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef IMAGECALC_CODEC_RANS_WALK_INL_H_
#undef IMAGECALC_CODEC_RANS_WALK_INL_H_
#else
#define IMAGECALC_CODEC_RANS_WALK_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "codec/rans_heads.h"

HWY_BEFORE_NAMESPACE();
namespace imagecalc::rans {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

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
inline void expect_row(std::uint32_t base, const std::uint8_t* north, const std::uint8_t* before, std::size_t count,
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
inline void expect_diagonal(const Energies& energies, std::size_t blocks, std::size_t count, std::uint16_t general,
                            int channel, std::uint16_t gain, const std::uint8_t* luma, const std::uint8_t* before,
                            std::uint16_t* expected) {
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
inline void first_energies(const std::uint8_t* symbols, std::size_t count, Energies& energies) {
  const D16 d;
  for (std::size_t at = 0; at < count; at += hn::Lanes(d)) {
    hn::StoreU(hn::ShiftLeft<4>(wide_magnitudes(symbols + at)), d, energies.values() + at);
  }
  energies.repeat_ends(count);
}

// From the energies of the diagonal before to those of this one.
inline void next_energies(const Energies& from, std::size_t blocks, const std::uint8_t* symbols, std::size_t count,
                          Energies& to) {
  const D16 d;
  for (std::size_t at = 0; at < count; at += hn::Lanes(d)) {
    const V16 own = hn::ShiftLeft<5>(wide_magnitudes(symbols + at));
    hn::StoreU(hn::Add(own, hn::ShiftRight<1>(mean_of_neighbours(from, blocks, at))), d, to.values() + at);
  }
  to.repeat_ends(count);
}

inline std::uint64_t sum_of_magnitudes(const std::uint8_t* symbols, std::size_t count) {
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
// them. symbols: layout.size() and kSlack more. May be interrupted between diagonals.
template <class Code>
void walk(const Layout& layout, const ChannelHead* heads, std::uint8_t* symbols, const Interrupt& interrupt, Code code) {
  const std::size_t blocks = layout.blocks(), channel_size = layout.channel_size();
  const std::size_t longest = std::max(blocks * layout.kept, std::size_t(layout.blocks_across));
  const auto expected = std::make_unique_for_overwrite<std::uint16_t[]>(longest + kSlack);
  const auto north = std::make_unique_for_overwrite<std::uint8_t[]>(std::size_t(layout.blocks_across) + 2 + kSlack);
  Energies energies(layout), next(layout);
  for (int c = 0; c < layout.channels; ++c) {
    interrupt.check();
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
      interrupt.check();
      const std::size_t count = (diagonal + 1) * blocks;
      expect_diagonal(energies, blocks, count, static_cast<std::uint16_t>(general), c, gain_of(heads[c].gain), luma, before,
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

}  // namespace HWY_NAMESPACE
}  // namespace imagecalc::rans
HWY_AFTER_NAMESPACE();

#endif
