// The one-dimensional DCT of 32 columns side by side, the same bits on every CPU.
//
// A DCT of N places is split into one of N/2 on the sums of mirrored places, which gives the even frequencies, and an odd
// part on their differences. The odd part is a matrix product, which costs as much as frequencies are kept of it, or
// another DCT of N/2 (B. G. Lee, 1984), which costs the same for any number of them. Which one is taken depends on the
// block and on how many frequencies the format keeps, never on the CPU or the picture.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagecalc {

inline constexpr int kTileColumns = 32;

enum class DctMethod { chosen, pruned, full };  // the last two are there to be measured: matrix products only, or none

struct Dct {
  int block;  // 8 16 32 64 128 256
  int kept;   // the format's; fewer frequencies may be asked for, and are the same bits as if all were
  DctMethod method = DctMethod::chosen;
};

// Both directions work without the factor 2/block of the two-dimensional, orthonormal DCT: a power of two that the caller
// may apply where it is free.

// The first `wanted` frequencies of columns whose places are rows[0..block), each less bias: out [wanted][columns].
// A vector reads up to 32 samples, but none outside rows[n][0..columns).
void dct_down(const Dct& dct, const std::uint8_t* const* rows, float bias, int columns, int wanted, float* out,
              std::size_t out_stride);
void dct_down(const Dct& dct, const float* const* rows, float bias, int columns, int wanted, float* out,
              std::size_t out_stride);

// The first `wanted` frequencies of 32 rows [32][block]: out [block][32], whose other rows hold nothing of use.
void dct_across(const Dct& dct, const float* rows, int wanted, float* out);

// The inverses. Frequencies from `present` on count as 0.
// frequencies [present][32], overwritten, with room for [block][32]: rows [32][block].
void inverse_dct_across(const Dct& dct, float* frequencies, int present, float* rows);
// frequencies [present][columns]: out [block][columns]; columns is at least 32.
void inverse_dct_down(const Dct& dct, const float* frequencies, std::size_t stride, int present, int columns, float* out,
                      std::size_t out_stride);

}  // namespace imagecalc
