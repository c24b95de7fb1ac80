// Coder 1 (codec/rans.h) decoded by a warp: its streams have up to 32 states that take words in the order of their symbols, which
// is what lanes, a ballot and the number of bits before one's own do. What crosses to the device are then the stored bytes.
//
// The walk is that of codec/rans_walk-inl.h and codec/rans_decode.cpp, which say what is expected of a symbol and why.
#pragma once

#include <bit>

#include "codec/prediction.h"
#include "codec/rans_heads.h"
#include "codec/rans_tables.h"
#include "gpu/batch.h"

namespace imagecalc::gpu {

// An image on its way from payload to planes.
struct Decoding {
  const std::uint8_t* payload;
  std::uint32_t size;          // of the payload
  std::uint32_t channels;      // 1 or 3
  const std::uint32_t* table;  // rans::decoding_table()
  std::uint8_t* planes;        // as ImageEntry has them
  Large* large;                // room for large_room(shape)
  void* scratch;               // scratch_bytes(shape), at a multiple of 16
};

// A photograph has hardly any. More than that are left to the CPU.
IMAGECALC_DEVICE inline std::uint32_t large_room(const BatchShape& shape) {
  return kTensorChannels * shape.channel_size() / 16 + 16;
}

// Larger channels are left to the CPU: 48 times the sum of a diagonal's magnitudes, each 130 at most, must fit into 32 bits.
inline constexpr std::uint32_t kMostOfAChannel = 1u << 19;

// What a decoding needs beside its result.
struct Scratch {
  std::int32_t* first;         // [channels][blocks]: frequency (0,0)
  std::uint16_t *expected, *energies, *next_energies;  // [kept][blocks], at least a row of blocks
  std::uint8_t* in_states;     // raw bytes that the states end with
};

IMAGECALC_DEVICE inline std::uint32_t scratch_row(const BatchShape& shape) {
  return static_cast<std::uint32_t>(shape.kept) * shape.blocks();
}

inline constexpr std::uint32_t kInStates = 2 * kLanes;

IMAGECALC_DEVICE inline std::uint64_t scratch_bytes(const BatchShape& shape) {
  const std::uint64_t bytes = kTensorChannels * std::uint64_t{shape.blocks()} * sizeof(std::int32_t) +
                              3 * std::uint64_t{scratch_row(shape)} * sizeof(std::uint16_t) + kInStates;
  return (bytes + 15) / 16 * 16;
}

IMAGECALC_DEVICE inline Scratch divide_scratch(void* memory, const BatchShape& shape) {
  Scratch scratch;
  scratch.first = static_cast<std::int32_t*>(memory);
  scratch.expected = reinterpret_cast<std::uint16_t*>(scratch.first + kTensorChannels * shape.blocks());
  scratch.energies = scratch.expected + scratch_row(shape);
  scratch.next_energies = scratch.energies + scratch_row(shape);
  scratch.in_states = reinterpret_cast<std::uint8_t*>(scratch.next_energies + scratch_row(shape));
  return scratch;
}

// Bytes in two pieces, as bits: the lowest of a byte first, zeros past the end.
struct BitSource {
  const std::uint8_t *first, *second;
  std::uint32_t first_size, second_size;

  IMAGECALC_LANES std::uint32_t size() const { return first_size + second_size; }
  IMAGECALC_LANES std::uint32_t byte(std::uint32_t n) const {
    return n < first_size ? first[n] : n < size() ? second[n - first_size] : 0u;
  }
  // count: 0..32.
  IMAGECALC_LANES std::uint32_t at(std::uint64_t bit, int count) const {
    std::uint64_t bits = 0;
    for (int n = 0; n < 5; ++n) bits |= std::uint64_t{byte(static_cast<std::uint32_t>(bit / 8) + n)} << 8 * n;
    return static_cast<std::uint32_t>(bits >> bit % 8 & ((std::uint64_t{1} << count) - 1));
  }
  // Whether nothing has been read past the end, and the rest of the last byte is zeros.
  IMAGECALC_LANES bool may_end_at(std::uint64_t bit) const {
    return (bit + 7) / 8 <= size() && (bit % 8 == 0 || at(bit, 8 - static_cast<int>(bit % 8)) == 0);
  }
};

// Decodes one image. All lanes go through it together.
class EntropyDecoder {
 public:
  IMAGECALC_LANES EntropyDecoder(const Lanes& lanes, const BatchShape& shape, const Decoding& decoding)
      : lanes_(lanes), shape_(shape), decoding_(decoding), scratch_(divide_scratch(decoding.scratch, shape)) {}

  // False where the payload is damaged, or not for a device: read_image() then says what is wrong, or reads it.
  IMAGECALC_LANES bool run() {
    if (!read_heads() || !decode_symbols() || !read_raw_bits()) return false;
    return undo_prediction();
  }
  IMAGECALC_LANES std::uint32_t large() const { return large_; }

 private:
  using Words = Lanes::PerLane<std::uint32_t>;
  using Flags = Lanes::PerLane<bool>;

  // ---- what the payload begins with; every lane reads all of it

  IMAGECALC_LANES bool read_heads() {
    const BitSource bits{decoding_.payload, nullptr, decoding_.size, 0};
    const rans::Layout layout{static_cast<int>(decoding_.channels), shape_.kept, shape_.blocks_across, shape_.blocks_down};
    std::uint64_t bit = 0;
    auto take = [&](int count) {
      bit += static_cast<std::uint64_t>(count);
      return bits.at(bit - static_cast<std::uint64_t>(count), count);
    };
    for (std::uint32_t c = 0; c < decoding_.channels; ++c) {
      heads_[c].base = static_cast<int>(take(rans::kBaseBits));
      heads_[c].diagonals = static_cast<int>(take(rans::diagonal_bits(shape_.kept)));
      heads_[c].gain = static_cast<int>(take(rans::kGainBits));
      if (heads_[c].base >= rans::kBaseLevels || heads_[c].diagonals >= shape_.kept) return false;
    }
    states_in_use_ = rans::lanes_for(rans::coded_symbols(layout, heads_));
    for (int state = 0; state < states_in_use_; ++state) {
      const int length = static_cast<int>(take(4));
      const std::uint32_t high = 1u << length | take(length);
      const std::uint32_t value = high << 16 | take(16);
      lanes_.each([&](int lane) {
        if (lane == state) states_[lane] = value;
      });
    }
    if (!bits.may_end_at(bit)) return false;
    next_ = decoding_.payload + (bit + 7) / 8;
    end_ = decoding_.payload + decoding_.size;
    return true;
  }

  // ---- symbols, into the planes

  IMAGECALC_LANES bool decode_symbols() {
    std::uint8_t* own = decoding_.planes;
    for (std::uint32_t c = 0; c < decoding_.channels; ++c) {
      if (!decode_channel(c, own)) return false;
      own += shape_.channel_size();
    }
    return true;
  }

  IMAGECALC_LANES bool decode_channel(std::uint32_t c, std::uint8_t* own) {
    const std::uint32_t blocks = shape_.blocks(), across = static_cast<std::uint32_t>(shape_.blocks_across);
    const std::uint8_t *luma = decoding_.planes, *before = own - (c > 0 ? shape_.channel_size() : 0);
    const std::uint32_t base = rans::base_of(heads_[c].base);
    for (std::uint32_t place = 0; place < blocks; place += across) {
      expect_row(base, c > 0, before + place, own + place, place > 0);
      if (!decode_run(across, own + place)) return false;
    }
    for_all(blocks, [&](std::uint32_t n) { scratch_.energies[n] = static_cast<std::uint16_t>(16 * rans::magnitude(own[n])); });
    std::uint32_t general = sum_of_magnitudes(own, blocks, 48) / blocks;
    std::uint32_t place = blocks, count = blocks;
    for (int diagonal = 1; diagonal <= heads_[c].diagonals; ++diagonal) {
      count += blocks;
      expect_diagonal(c, count, general, luma + place, before + place);
      if (!decode_run(count, own + place)) return false;
      for_all(count, [&](std::uint32_t n) {
        scratch_.next_energies[n] =
            static_cast<std::uint16_t>(32 * rans::magnitude(own[place + n]) + neighbours_mean(count, n) / 2);
      });
      std::uint16_t* energies = scratch_.energies;
      scratch_.energies = scratch_.next_energies;
      scratch_.next_energies = energies;
      general = sum_of_magnitudes(own + place, count, 32) / count;
      place += count;
    }
    for_all(shape_.channel_size() - place, [&](std::uint32_t n) { own[place + n] = 0; });
    return true;
  }

  // own: this row; the one above it is known.
  IMAGECALC_LANES void expect_row(std::uint32_t base, bool has_before, const std::uint8_t* before, const std::uint8_t* own,
                                  bool has_north) {
    const std::uint32_t across = static_cast<std::uint32_t>(shape_.blocks_across);
    for_all(across, [&](std::uint32_t n) {
      std::uint32_t sum = has_north ? base : base + base * 5 / 8;
      if (has_north) {
        const std::uint8_t* north = own - across;
        const std::uint32_t west = n > 0 ? n - 1 : 0, east = n + 1 < across ? n + 1 : n;
        sum += 12 * (rans::magnitude(north[west]) + 2 * rans::magnitude(north[n]) + rans::magnitude(north[east]));
      }
      if (has_before) sum += 10 * rans::magnitude(before[n]);
      scratch_.expected[n] = static_cast<std::uint16_t>(sum);
    });
  }

  IMAGECALC_LANES void expect_diagonal(std::uint32_t c, std::uint32_t count, std::uint32_t general, const std::uint8_t* luma,
                                       const std::uint8_t* before) {
    const std::uint32_t gain = rans::gain_of(heads_[c].gain);
    for_all(count, [&](std::uint32_t n) {
      std::uint32_t sum = neighbours_mean(count, n) + general;
      if (c == 1) sum = 3 * sum / 4 + 8 * rans::magnitude(luma[n]);
      if (c == 2) sum = 5 * sum / 8 + 8 * rans::magnitude(luma[n]) + 28 * rans::magnitude(before[n]);
      scratch_.expected[n] = static_cast<std::uint16_t>(2 * sum * gain >> 16);
    });
  }

  // Of the energies of the diagonal before one of `count` symbols: those of (i-1,j) and (i,j-1), of place n.
  IMAGECALC_LANES std::uint32_t neighbours_mean(std::uint32_t count, std::uint32_t n) const {
    const std::uint32_t blocks = shape_.blocks(), last = count - blocks;
    const std::uint32_t above = n < blocks ? n : n - blocks, left = n < last ? n : n - blocks;
    return (std::uint32_t{scratch_.energies[above]} + scratch_.energies[left] + 1) / 2;
  }

  // The symbols of one run, a lane a symbol.
  IMAGECALC_LANES bool decode_run(std::uint32_t count, std::uint8_t* symbols) {
    const std::uint32_t step = static_cast<std::uint32_t>(states_in_use_);
    for (std::uint32_t at = 0; at < count && next_ <= end_; at += step) {
      Flags is_low;
      lanes_.each([&](int lane) {
        const std::uint32_t n = at + static_cast<std::uint32_t>(lane);
        is_low[lane] = false;
        if (lane >= states_in_use_ || n >= count) return;
        const std::uint32_t context = static_cast<std::uint32_t>(rans::context_of(scratch_.expected[n]));
        const std::uint32_t state = states_[lane];
        const std::uint32_t entry = decoding_.table[context << rans::kProbabilityBits | (state & (rans::kSlots - 1))];
        symbols[n] = static_cast<std::uint8_t>(entry & 63);
        states_[lane] = (entry >> 6 & 1023) * (state >> rans::kProbabilityBits) + (entry >> 16);
        is_low[lane] = states_[lane] >> 16 == 0;
      });
      const std::uint32_t low = lanes_.ballot(is_low);
      lanes_.each([&](int lane) {
        if (!is_low[lane]) return;
        const std::uint8_t* word = next_ + 2 * bits_in(low & ((1u << lane) - 1));
        const std::uint32_t bits = word + 2 <= end_ ? word[0] | word[1] << 8 : 0u;
        states_[lane] = states_[lane] << 16 | bits;
      });
      next_ += 2 * bits_in(low);
    }
    return next_ <= end_;
  }

  // ---- raw bits: symbols become zigzag numbers

  IMAGECALC_LANES bool read_raw_bits() {
    if (!collect_raw_bytes()) return false;
    const std::uint32_t size = decoding_.channels * shape_.channel_size(), channel = shape_.channel_size();
    for (std::uint32_t c = 0; c < decoding_.channels; ++c) {
      for_all(shape_.blocks(), [&](std::uint32_t n) { first(c, n) = from_zigzag(decoding_.planes[c * channel + n]); });
    }
    for (std::uint32_t begin = 0; begin < size; begin += kLanes) {
      Words length, symbols;
      Flags has_bits, is_escape;
      lanes_.each([&](int lane) {
        const std::uint32_t n = begin + static_cast<std::uint32_t>(lane);
        const std::uint32_t symbol = n < size ? decoding_.planes[n] : 0;
        symbols[lane] = symbol;
        has_bits[lane] = symbol >= rans::kDirect;
        is_escape[lane] = symbol == rans::kEscape;
        length[lane] = symbol > rans::kEscape ? static_cast<std::uint32_t>(rans::raw_bits(static_cast<int>(symbol))) : 0;
      });
      if (lanes_.ballot(has_bits) == 0) continue;
      if (lanes_.ballot(is_escape) != 0) {
        if (!read_one_by_one(begin)) return false;
        continue;
      }
      const Words before = lanes_.sums_before(length);
      Words zigzag;
      lanes_.each([&](int lane) {
        if (!has_bits[lane]) return;
        const std::uint32_t least = rans::least_zigzag(static_cast<int>(symbols[lane]));
        zigzag[lane] = least + raw_.at(raw_bit_ + before[lane], static_cast<int>(length[lane]));
      });
      if (!keep(begin, has_bits, zigzag)) return false;
      raw_bit_ += lanes_.sum(length);
    }
    return ends_well();
  }

  // The raw bytes: what the states end with, and what follows the words.
  IMAGECALC_LANES bool collect_raw_bytes() {
    Flags is_wrong;
    lanes_.each([&](int lane) {
      is_wrong[lane] = lane < states_in_use_ && states_[lane] >> 16 != 1;
      scratch_.in_states[2 * lane] = static_cast<std::uint8_t>(states_[lane]);
      scratch_.in_states[2 * lane + 1] = static_cast<std::uint8_t>(states_[lane] >> 8);
    });
    raw_ = {scratch_.in_states, next_, 2 * static_cast<std::uint32_t>(states_in_use_),
            static_cast<std::uint32_t>(end_ - next_)};
    return lanes_.ballot(is_wrong) == 0;
  }

  // Where an escape says how long it is, the next one's place is known only then: one lane reads, one after the other.
  IMAGECALC_LANES bool read_one_by_one(std::uint32_t begin) {
    const std::uint32_t size = decoding_.channels * shape_.channel_size();
    for (std::uint32_t n = begin; n < begin + kLanes && n < size; ++n) {
      const std::uint32_t symbol = decoding_.planes[n];
      if (symbol < rans::kDirect) continue;
      std::uint32_t zigzag;
      if (symbol > rans::kEscape) {
        const int length = rans::raw_bits(static_cast<int>(symbol));
        zigzag = rans::least_zigzag(static_cast<int>(symbol)) + raw_.at(raw_bit_, length);
        raw_bit_ += static_cast<std::uint64_t>(length);
      } else {
        const std::uint32_t length = raw_.at(raw_bit_, rans::kLengthBits);
        if (length > 32) return false;
        zigzag = raw_.at(raw_bit_ + rans::kLengthBits, static_cast<int>(length));
        raw_bit_ += rans::kLengthBits + length;
      }
      Flags is_own;
      Words own;
      lanes_.each([&](int lane) {
        is_own[lane] = n == begin + static_cast<std::uint32_t>(lane);
        own[lane] = zigzag;
      });
      if (!keep(begin, is_own, own)) return false;
    }
    return true;
  }

  // Puts the lanes' zigzag numbers, where they have one, to place begin + lane. False where there is no room.
  IMAGECALC_LANES bool keep(std::uint32_t begin, const Flags& has_one, const Words& zigzag) {
    const std::uint32_t channel = shape_.channel_size(), blocks = shape_.blocks();
    Flags is_large;
    lanes_.each([&](int lane) {
      is_large[lane] = false;
      if (!has_one[lane]) return;
      const std::uint32_t n = begin + static_cast<std::uint32_t>(lane);
      if (n % channel < blocks) {
        first(n / channel, n % channel) = from_zigzag(zigzag[lane]);
      } else {
        decoding_.planes[n] = static_cast<std::uint8_t>(zigzag[lane] < BytePlanes::kLarge ? zigzag[lane] : BytePlanes::kLarge);
        is_large[lane] = zigzag[lane] >= BytePlanes::kLarge;
      }
    });
    return keep_large(begin, is_large, zigzag);
  }

  IMAGECALC_LANES bool keep_large(std::uint32_t begin, const Flags& is_large, const Words& zigzag) {
    const std::uint32_t mask = lanes_.ballot(is_large);
    if (mask == 0) return true;
    if (large_ + bits_in(mask) > large_room(shape_)) return false;
    lanes_.each([&](int lane) {
      if (!is_large[lane]) return;
      Large& large = decoding_.large[large_ + bits_in(mask & ((1u << lane) - 1))];
      large = {begin + static_cast<std::uint32_t>(lane), from_zigzag(zigzag[lane])};
    });
    large_ += bits_in(mask);
    return true;
  }

  // Every byte must have been used, but for the zeros that fill up the states.
  IMAGECALC_LANES bool ends_well() const {
    const std::uint32_t used = static_cast<std::uint32_t>((raw_bit_ + 7) / 8);
    if (!raw_.may_end_at(raw_bit_) || raw_.size() > (used > raw_.first_size ? used : raw_.first_size)) return false;
    for (std::uint32_t n = used; n < raw_.size(); ++n) {
      if (raw_.byte(n) != 0) return false;
    }
    return true;
  }

  // ---- frequency (0,0) from its differences: those of a falling diagonal of blocks do not need one another

  IMAGECALC_LANES bool undo_prediction() {
    const int across = shape_.blocks_across, down = shape_.blocks_down;
    for (std::uint32_t c = 0; c < decoding_.channels; ++c) {
      for (int turn = 0; turn < across + down - 1; ++turn) {
        const int first_row = turn < across ? 0 : turn - across + 1, last_row = turn < down ? turn : down - 1;
        for_all(static_cast<std::uint32_t>(last_row - first_row + 1), [&](std::uint32_t n) {
          const int row = first_row + static_cast<int>(n), column = turn - row;
          std::int32_t& value = first(c, static_cast<std::uint32_t>(row * across + column));
          value = wrapped_sum(value, predict(&first(c, 0), across, row, column));
        });
      }
      if (!keep_first(c)) return false;
    }
    return true;
  }

  IMAGECALC_LANES bool keep_first(std::uint32_t c) {
    const std::uint32_t blocks = shape_.blocks(), channel = c * shape_.channel_size();
    for (std::uint32_t begin = 0; begin < blocks; begin += kLanes) {
      Words zigzag;
      Flags is_large;
      lanes_.each([&](int lane) {
        const std::uint32_t n = begin + static_cast<std::uint32_t>(lane);
        is_large[lane] = false;
        if (n >= blocks) return;
        zigzag[lane] = to_zigzag(first(c, n));
        is_large[lane] = zigzag[lane] >= BytePlanes::kLarge;
        decoding_.planes[channel + n] = static_cast<std::uint8_t>(is_large[lane] ? BytePlanes::kLarge : zigzag[lane]);
      });
      if (!keep_large(channel + begin, is_large, zigzag)) return false;
    }
    return true;
  }

  // ---- shared

  template <typename Work>
  IMAGECALC_LANES void for_all(std::uint32_t count, const Work& work) const {
    lanes_.each([&](int lane) {
      for (std::uint32_t n = static_cast<std::uint32_t>(lane); n < count; n += kLanes) work(n);
    });
  }

  IMAGECALC_LANES std::uint32_t sum_of_magnitudes(const std::uint8_t* symbols, std::uint32_t count, std::uint32_t factor) const {
    Words sums;
    lanes_.each([&](int lane) {
      for (std::uint32_t n = static_cast<std::uint32_t>(lane); n < count; n += kLanes) sums[lane] += rans::magnitude(symbols[n]);
    });
    return factor * lanes_.sum(sums);
  }

  IMAGECALC_LANES std::int32_t& first(std::uint32_t c, std::uint32_t block) const {
    return scratch_.first[c * shape_.blocks() + block];
  }

  IMAGECALC_LANES static std::uint32_t bits_in(std::uint32_t mask) {
#ifdef __CUDACC__
    return static_cast<std::uint32_t>(__popc(mask));
#else
    return static_cast<std::uint32_t>(std::popcount(mask));
#endif
  }

  const Lanes lanes_;
  const BatchShape shape_;
  const Decoding decoding_;
  Scratch scratch_;
  rans::ChannelHead heads_[rans::kMaxChannels] = {};
  int states_in_use_ = 0;
  Words states_;
  const std::uint8_t *next_ = nullptr, *end_ = nullptr;
  BitSource raw_{};
  std::uint64_t raw_bit_ = 0;
  std::uint32_t large_ = 0;
};

}  // namespace imagecalc::gpu
