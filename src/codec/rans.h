// Coder 1 of the value layout: interleaved range ANS with fixed tables, chosen for each coefficient by the sizes of those
// that were coded before it. Nothing but the payload is needed to decode.
//
// Source of the coder: Duda, "Asymmetric numeral systems", 2013 (rANS). States are 32 bits, refilled by 16-bit words below
// 2^16.
//
// Values are coded as symbols (symbols.h) in runs whose symbols do not depend on one another, so that they can be coded side
// by side: each row of blocks of frequency (0,0), and each diagonal of frequencies with all its blocks. Symbol e of a run
// uses state e mod `lanes`, and states take words from one stream in the order of the symbols. There are 4 lanes where fewer
// than 512 symbols are coded, 8 below 3072, 16 below 6144, else 32.
//
// A symbol's probabilities are a row of the tables (rans_tables.h), its context: with the size x that is expected of the
// coefficient, in 64ths, the half octave of x + 2, counted from 2 (2, 3, 4, 6, 8, 12 ... begin contexts 0, 1, 2 ...).
//
// Expected sizes, in integers; divisions round down. m: the magnitude of a symbol s, (s + 1) / 2 + 4 max(0, s - 17).
//   frequency (0,0)   base + 12 (m_NW + 2 m_N + m_NE) + 10 m_before, with the blocks to the north (at the ends of their row
//                     the last one again) and the channel before; the first row has base + 5/8 base instead of the north.
//                     base is the encoder's choice for each channel.
//   frequency (i,j)   t = mean(energy of (i-1,j), energy of (i,j-1)), rounded up, + mean(32 m of the diagonal before), 48
//                     instead of 32 on the first diagonal; u = t in Y, 3/4 t + 8 m_Y in Cb, 5/8 t + 8 m_Y + 28 m_Cb in Cr;
//                     2 u gain / 2^16, where the gain is the encoder's choice for each channel.
//   energy of (i,j) = 32 m + half of that mean; of (0,0): 16 m. Outside the triangle the nearest one on the diagonal counts.
//
// Payload:
//   channel heads   for each channel: 5 bits base, 0..23: 4, 5, 8, 11, 16 ... 64ths (half octaves, rans_heads.h); as many
//                   bits as kept - 1 has: the number of diagonals that are coded after (0,0), the rest is 0; 2 bits: the
//                   gain, 32768, 23170, 46341 or 65535
//   lane heads      for each state x: 4 bits e, then the e lowest bits of x >> 16 (the one above them is set), then 16 bits.
//                   The bits of all heads are filled up to a whole byte
//   words           16 bits each, little-endian
//   raw bits        of the symbols, in the order of the values. Their first 2 lanes bytes are not here, but in the states:
//                   after the last symbol a state is 2^16 + two of these bytes. Unused bits are 0.
#pragma once

#include <cstdint>
#include <vector>

#include "codec/picture.h"
#include "codec/planes.h"

namespace imagecalc::rans {

// [channel][frequency in triangle order][block in raster order]
struct Layout {
  int channels, kept, blocks_across, blocks_down;

  constexpr std::size_t blocks() const { return std::size_t(blocks_across) * blocks_down; }
  constexpr std::size_t channel_size() const { return static_cast<std::size_t>(triangle_size(kept)) * blocks(); }
  constexpr std::size_t size() const { return channel_size() * channels; }
};

enum class Effort { fast, thorough };  // thorough: tries every gain; 1 to 3 % smaller at several times the time

// planes: the differences where frequency (0,0) is predicted. Appends the payload.
void encode(const BytePlanes& planes, const Layout& layout, Effort effort, std::vector<std::uint8_t>& out,
            const Interrupt& interrupt = {});

// Throws Error(corrupt_value), before memory is asked for where the payload cannot hold so many coefficients.
BytePlanes decode(Bytes payload, const Layout& layout, const Interrupt& interrupt = {});

// The symbols that are coded and their contexts, for training the tables.
struct Contexts {
  std::vector<std::uint8_t> symbols, contexts;
};
Contexts contexts_of(const BytePlanes& planes, const Layout& layout);

}  // namespace imagecalc::rans
