// A storage format: the five decisions that turn a picture into stored coefficients.
//
// Source: Sirin & Idreos, "The Image Calculator", SIGMOD 2024, section 4. One spelling everywhere:
//   1x1/b32/k6/q50@256     subsampling 1x1, blocks of 32x32, triangle i+j < 6 kept, quantizer 50, scaled to 256x256
//   2x2r/b16/k4/q20        every other row, native size
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace imagecalc {

inline constexpr int kMaxSize = 8184;      // largest edge a format can scale to, a multiple of kSizeStep
inline constexpr int kSizeStep = 8;
inline constexpr int kMinBlock = 8;
inline constexpr int kMaxBlock = 256;
inline constexpr int kMaxQuantizer = 255;

// Which rows and columns of the scaled picture are kept: 0, 2, 4, ... where one is subsampled.
enum class Subsampling : std::uint8_t { none = 0, rows = 1, columns = 2, both = 3 };  // 1x1 2x2r 2x2c 4x4
constexpr bool halves_rows(Subsampling s) { return s == Subsampling::rows || s == Subsampling::both; }
constexpr bool halves_columns(Subsampling s) { return s == Subsampling::columns || s == Subsampling::both; }

struct Format {
  Subsampling subsampling = Subsampling::none;
  int block = 8;       // B: 8 16 32 64 128 256
  int kept = 1;        // k: 1..B, the coefficients with i+j < k stay
  int quantizer = 50;  // q: 1..255
  int size = 0;        // edge in pixels, a multiple of 8 up to 8184; 0 keeps the picture's own size

  auto operator<=>(const Format&) const = default;
};

// Throws Error(bad_format), whose message names the part that is out of its range.
void check(const Format& format);

// Parses a format's text. Throws Error(bad_format) whose message names the part that is wrong.
Format parse_format(std::string_view text);
std::string to_string(const Format& format);

// 31 bits, never negative as an int32: from the top S 2, log2(B)-3 3, k-1 8, q 8, size/8 10. It is the type modifier of
// an icimage column. The block codes 6 and 7 are reserved. unpack throws Error(bad_format).
std::uint32_t pack(const Format& format);
Format unpack(std::uint32_t packed);

// The paper's design space at one size (or native, size 0): 4 x (8+16+...+256) x 3 = 6048 formats,
// ordered by subsampling, block, kept, quantizer.
std::vector<Format> design_space(int size);
inline constexpr std::array<int, 6> kBlocks = {8, 16, 32, 64, 128, 256};
inline constexpr std::array<int, 3> kSearchedQuantizers = {20, 50, 100};

// Where the coefficients of a picture lie.
struct Geometry {
  int plane_width, plane_height;    // after subsampling, before padding to whole blocks
  int blocks_across, blocks_down;   // nW, nH
  int tensor_width, tensor_height;  // nW*k, nH*k

  std::int64_t blocks() const { return std::int64_t{blocks_across} * blocks_down; }
  std::int64_t tensor_area() const { return std::int64_t{tensor_width} * tensor_height; }
};

// coded_width, coded_height: the picture after scaling, 1..65535 each.
Geometry geometry(const Format& format, int coded_width, int coded_height);

// A place in a block: vertical frequency i (row), horizontal frequency j (column).
struct Frequency {
  int i, j;
  auto operator<=>(const Frequency&) const = default;
};

// The triangle i+j < kept by diagonal, within a diagonal by rising i: k(k+1)/2 places. The order for a smaller k is a
// prefix of the order for a larger one.
std::vector<Frequency> triangle(int kept);
constexpr std::int64_t triangle_size(int kept) { return std::int64_t{kept} * (kept + 1) / 2; }

// Where frequency (i, j) stands in that order.
constexpr std::size_t triangle_index(int i, int j) { return static_cast<std::size_t>(triangle_size(i + j) + i); }

// What a model reads: coefficients of one format, or RGB pixels scaled to a square ('rgb@256').
struct ModelInput {
  bool rgb = false;
  int rgb_size = 0;  // 1..8184, for rgb
  Format format;     // otherwise

  bool operator==(const ModelInput&) const = default;
};

ModelInput parse_model_input(std::string_view text);  // Error(bad_format)
std::string to_string(const ModelInput& input);

// One mean and deviation a channel: over the kept coefficients of the training set, or over its RGB samples in 0..1.
struct Normalisation {
  std::array<float, 3> mean{0, 0, 0};
  std::array<float, 3> deviation{1, 1, 1};
};

}  // namespace imagecalc
