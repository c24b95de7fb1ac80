// Coder 1 of the value layout: interleaved range ANS with fixed tables, chosen for each coefficient by the sizes of those
// that were coded before it. Nothing but the payload is needed to decode.
//
// Source of the coder: Duda, "Asymmetric numeral systems", 2013 (rANS). States are 32 bits, refilled by 16-bit words below
// 2^16.
//
// Values are coded in runs whose symbols do not depend on one another, so that they can be coded side by side: each row of
// blocks of frequency (0,0), and each diagonal of frequencies with all its blocks. Symbol e of a run uses state e mod
// `lanes`, and states take words from one stream in the order of the symbols.
//
// How large a coefficient is expected to be, in 64ths (m: the magnitude of a symbol, (s + 1) / 2 up to 15 and 4 more for
// each half octave; integer arithmetic, divisions round down):
//   frequency (0,0)   base + 12 (m_NW + 2 m_N + m_NE) + 10 m_before, with the blocks to the north and the channel before;
//   the
//                     first row has base + 5/8 base instead of the north. base is chosen by the encoder for each channel.
//   frequency (i,j)   t = mean(energy of (i-1,j), energy of (i,j-1)), rounded up, + 32 mean(m of the diagonal before)
//                     Y: t;  Cb: 3/4 t + 8 m_Y;  Cr: 5/8 t + 28 m_Cb + 8 m_Y          (48 instead of 32 on the first
//                     diagonal)
//   energy of (i,j) = 32 m + half of that mean; of (0,0): 16 m. Outside the triangle the nearest one on the diagonal counts.
//
// Payload:
//   channel heads   for each channel: 5 bits base, 0..23: 4, 5, 8, 11, 16 ... 64ths (half octaves); as many bits as kept - 1
//   has:
//                   the number of diagonals that are coded after (0,0), the rest is 0; 2 bits: what the expected sizes of
//                   (i,j) are multiplied by, 1, 0.71, 1.41 or 2
//   lane heads      for each state x: 4 bits e, then the e lowest bits of x >> 16 (the one above them is set), then 16 bits.
//                   The bits of all heads are filled up to a whole byte
//   words           16 bits each, little-endian
//   raw bits        of the symbols, in the order of the values. Their first 2 lanes bytes are not here, but in the states:
//   after
//                   the last symbol a state is 2^16 + two of these bytes. Unused bits are 0.
#pragma once

#include <cstdint>
#include <vector>

#include "codec/picture.h"
#include "codec/planes.h"

namespace imagecalc::rans {

// [channel][frequency in triangle order][block in raster order]
struct Layout {
  int channels, kept, blocks_across, blocks_down;

  std::size_t blocks() const { return std::size_t(blocks_across) * blocks_down; }
  std::size_t channel_size() const { return static_cast<std::size_t>(triangle_size(kept)) * blocks(); }
  std::size_t size() const { return channel_size() * channels; }
};

enum class Effort { fast, thorough };  // thorough: tries every gain; 1 to 3 % smaller at several times the time

// planes: the differences where frequency (0,0) is predicted. Appends the payload.
void encode(const BytePlanes& planes, const Layout& layout, Effort effort, std::vector<std::uint8_t>& out,
            const Interrupt& interrupt = {});

// Throws Error(corrupt_value), before memory is asked for where the payload cannot hold so many coefficients.
BytePlanes decode(Bytes payload, const Layout& layout);

// The symbols that are coded and their contexts, for training the tables.
struct Contexts {
  std::vector<std::uint8_t> symbols, contexts;
};
Contexts contexts_of(const BytePlanes& planes, const Layout& layout);

}  // namespace imagecalc::rans
