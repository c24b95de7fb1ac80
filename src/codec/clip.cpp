#include "codec/clip.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/clip.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "codec/dct8-inl.h"

// What does not depend on the CPU path.
#ifndef IMAGECALC_CODEC_CLIP_CPP_
#define IMAGECALC_CODEC_CLIP_CPP_
namespace imagecalc {
namespace {

constexpr int kMaxRepeat = 4, kMaxBlocks = kMaxRepeat * kMaxRepeat, kMaxComponents = 3;
constexpr float kLowest = -128, kHighest = 127;  // samples are less 128, as in coefficients
constexpr float kSixteenth = 1.0f / 16, kMostSixteenths = 32767;

constexpr float kRedOfCr = 1.402f, kBlueOfCb = 1.772f, kGreenOfCb = -0.344136f, kGreenOfCr = -0.714136f;
constexpr float kLumaOfRed = 0.299f, kLumaOfGreen = 0.587f, kLumaOfBlue = 0.114f;

// A tile is looked at where the mean of one of its colours and kDeviations of the root mean square deviations from it are
// further from 0 than kFar, or the mean alone is outside. One coefficient alone stays within two deviations; many may go
// further, but seldom do in more than a few samples. A smaller kFar has more tiles looked at in vain.
constexpr float kDeviations = 2, kFar = 152, kOutside = 128;

// It is cut where one of its rows of pixels changes by more than this, root mean square.
constexpr float kSlack = 1.25f;

// Squares of deviations are summed in integers, whose sums are the same in any order. What a coefficient is in a deviation
// is counted in sixteenths of a grey level; kMostParts is more than sound files need.
constexpr int kParts = 16, kMostParts = 4095;
static_assert(std::int64_t{kMostParts} * kMostParts * kJpegArea < std::int64_t{1} << 31);

// Of a component's quantized levels.
struct Scales {
  alignas(64) std::array<std::int16_t, kJpegArea> parts;        // of a deviation, in one level
  alignas(64) std::array<std::int16_t, kJpegArea> most_levels;  // that are counted
  std::array<float, kJpegArea> inverse;                         // dequantizes, with the orthonormal DCT's factors
};

float orthonormal(int frequency) { return frequency == 0 ? 0.35355339f : 0.5f; }

// Both directions' factor for one coefficient.
float orthonormal_pair(int place) { return orthonormal(place / kJpegBlock) * orthonormal(place % kJpegBlock); }

Scales make_scales(const JpegComponent& component) {
  Scales scales;
  for (int n = 0; n < kJpegArea; ++n) {
    scales.inverse[n] = component.steps[n] * orthonormal_pair(n);
    scales.parts[n] = static_cast<std::int16_t>(std::clamp(component.steps[n] * kParts / kJpegBlock, 1, kMostParts));
    scales.most_levels[n] = static_cast<std::int16_t>(kMostParts / scales.parts[n]);
  }
  scales.parts[0] = 0;
  return scales;
}

// One of a component's blocks, while its region is at work.
struct Block {
  std::int16_t* levels;
  std::uint8_t* in_sixteenths;
  bool is_open, is_changed;
  bool has_changes;  // that are still to be applied
  alignas(64) float samples[kJpegArea + kJpegBlock];  // [column][row], and room to read a vector from any
  alignas(64) float changes[kJpegArea * kMaxRepeat];  // [column][row of pixels]: sums over a row's that share a sample
};

// One component's share in a region.
struct Part {
  int across, down;  // blocks
  int repeat_across, repeat_down;
  bool is_plain;  // nothing is repeated
  Scales scales;
  // For each of the region's columns and rows of tiles: the block's place in blocks is the sum.
  std::array<std::uint8_t, kMaxRepeat> block_column, block_row;
  // For each of the region's columns and rows of pixels: the sample in its block.
  std::array<std::uint8_t, kJpegBlock * kMaxRepeat> column, row;
  // For each fourth row of pixels: how many samples below it the next rows' are.
  std::array<std::array<std::int32_t, kJpegBlock>, 2 * kMaxRepeat> steps_down;
  std::array<Block, kMaxBlocks> blocks;
  std::vector<float> means, squares;  // of the blocks over each tile of a row; of deviations, in parts
};

// The least square of whole blocks of each component: 8 x 8 pixels, as often as the coarsest component repeats its samples.
struct Region {
  int count, across, down;  // components, tiles of 8 x 8 pixels
  std::array<Part, kMaxComponents> parts;
  int tiles_across, tiles_down;  // of the picture
  std::size_t stride;            // room for a row of the picture's tiles, read by whole vectors
  std::vector<float> farthest;   // for each tile of a row of regions: what kFar is compared with
  double squares_left = 0;       // of what chroma samples that pixels share could not change by
};

// In pixels from the region's corner.
struct Tile {
  int x, y;
};

void prepare(const JpegComponent& component, const Region& region, Part& part) {
  part.repeat_across = component.repeat_across;
  part.repeat_down = component.repeat_down;
  part.across = region.across / component.repeat_across;
  part.down = region.down / component.repeat_down;
  part.is_plain = component.repeat_across == 1 && component.repeat_down == 1;
  part.scales = make_scales(component);
  for (int n = 0; n < kMaxRepeat; ++n) {
    part.block_column[n] = static_cast<std::uint8_t>(n / component.repeat_across);
    part.block_row[n] = static_cast<std::uint8_t>(n / component.repeat_down * part.across);
  }
  for (int n = 0; n < kJpegBlock * kMaxRepeat; ++n) {
    part.column[n] = static_cast<std::uint8_t>(n / component.repeat_across % kJpegBlock);
    part.row[n] = static_cast<std::uint8_t>(n / component.repeat_down % kJpegBlock);
    for (int m = 0; m < kJpegBlock && n % 4 == 0; ++m) {
      part.steps_down[n / 4][m] = (n + m) / component.repeat_down - n / component.repeat_down;
    }
  }
}

}  // namespace
}  // namespace imagecalc
#endif

HWY_BEFORE_NAMESPACE();
namespace imagecalc {
namespace HWY_NAMESPACE {

HWY_INLINE Float cut(Float value) {
  return hn::Min(hn::Max(value, hn::Set(Floats(), kLowest)), hn::Set(Floats(), kHighest));
}

// The same on every CPU, as a sum of lanes is not.
HWY_INLINE bool any_above(Float value, float bound) {
  return !hn::AllFalse(Floats(), hn::Gt(value, hn::Set(Floats(), bound)));
}

// From levels to samples, which decoders cut before they make colours of them.
void open(const Scales& scales, Block& block) {
  if (block.is_open) return;
  block.is_open = true;
  const hn::Rebind<std::int32_t, Floats> whole;
  const hn::Rebind<std::int16_t, Floats> narrow;
  alignas(64) float rows[kJpegArea];
  for (std::size_t n = 0; n < kJpegArea; n += hn::Lanes(Floats())) {
    const auto level = hn::ConvertTo(Floats(), hn::PromoteTo(whole, hn::LoadU(narrow, block.levels + n)));
    store(hn::Mul(level, load(scales.inverse.data() + n)), rows + n);
  }
  inverse_down(rows);
  transpose(rows, block.samples);
  inverse_down(block.samples);
  Float most = hn::Zero(Floats());
  for (std::size_t n = 0; n < kJpegArea; n += hn::Lanes(Floats())) {
    const Float sample = load(block.samples + n), inside = cut(sample);
    store(inside, block.samples + n);
    most = hn::Max(most, hn::Abs(hn::Sub(sample, inside)));
  }
  block.is_changed = any_above(most, kSlack);
}

// From samples to sixteenths.
void close(Block& block) {
  static const auto factors = [] {
    std::array<float, kJpegArea> values;
    for (int n = 0; n < kJpegArea; ++n) values[n] = orthonormal_pair(n) / kSixteenth;
    return values;
  }();
  const hn::Rebind<std::int16_t, Floats> narrow;
  alignas(64) float rows[kJpegArea];
  forward_down(block.samples);
  transpose(block.samples, rows);
  forward_down(rows);
  for (std::size_t n = 0; n < kJpegArea; n += hn::Lanes(Floats())) {
    const Float value = hn::Mul(load(rows + n), load(factors.data() + n));
    const auto bounded = hn::Min(hn::Max(value, hn::Set(Floats(), -kMostSixteenths)), hn::Set(Floats(), kMostSixteenths));
    hn::StoreU(hn::DemoteTo(narrow, hn::NearestInt(bounded)), narrow, block.levels + n);
  }
}

HWY_INLINE Block& block_at(Part& part, Tile tile) {
  return part.blocks[part.block_row[tile.y / kJpegBlock] + part.block_column[tile.x / kJpegBlock]];
}

// Samples as pixels, [column][row]: each again and again. room: for them, where they are not there yet.
HWY_INLINE const float* pixels_of(Part& part, Tile tile, float* room) {
  Block& block = block_at(part, tile);
  open(part.scales, block);
  if (part.is_plain) return block.samples;
  for (std::size_t y = 0; y < kJpegBlock; y += hn::Lanes(Floats())) {
    const auto steps = hn::SetTableIndices(Floats(), part.steps_down[(tile.y + y) / 4].data());
    const float* row = block.samples + part.row[tile.y + y];
    for (int x = 0; x < kJpegBlock; ++x) {
      store(hn::TableLookupLanes(load(row + part.column[tile.x + x] * kJpegBlock), steps), room + x * kJpegBlock + y);
    }
  }
  return room;
}

struct Colour {
  Float red, green, blue;
};

HWY_INLINE Colour to_rgb(Float y, Float cb, Float cr) {
  return {hn::Add(y, times(cr, kRedOfCr)), hn::Add(hn::Add(y, times(cb, kGreenOfCb)), times(cr, kGreenOfCr)),
          hn::Add(y, times(cb, kBlueOfCb))};
}

// A tile's components as pixels.
struct Pixels {
  const float *y, *cb, *cr;
};

// What luma, blue and red differences change by where colours are cut, and whether that is worth while.
// changes: [3][column][row].
HWY_INLINE bool find_changes(const Pixels& pixels, float* changes) {
  bool is_much = false;
  for (std::size_t y = 0; y < kJpegBlock; y += hn::Lanes(Floats())) {
    Float squares = hn::Zero(Floats());
    for (std::size_t n = y; n < kJpegArea; n += kJpegBlock) {
      const Colour colour = to_rgb(load(pixels.y + n), load(pixels.cb + n), load(pixels.cr + n));
      const Float red = hn::Sub(cut(colour.red), colour.red), green = hn::Sub(cut(colour.green), colour.green);
      const Float blue = hn::Sub(cut(colour.blue), colour.blue);
      const Float luma = hn::Add(hn::Add(times(red, kLumaOfRed), times(green, kLumaOfGreen)), times(blue, kLumaOfBlue));
      const Float cb = times(hn::Sub(blue, luma), 1 / kBlueOfCb), cr = times(hn::Sub(red, luma), 1 / kRedOfCr);
      store(luma, changes + n);
      store(cb, changes + kJpegArea + n);
      store(cr, changes + 2 * kJpegArea + n);
      squares = hn::Add(squares, hn::Add(hn::Mul(luma, luma), hn::Add(hn::Mul(cb, cb), hn::Mul(cr, cr))));
    }
    is_much |= any_above(squares, kJpegBlock * kSlack * kSlack);
  }
  return is_much;
}

// Where a block is one tile, its samples change at once; else they are still to be read by the others, and squares, for
// each of a tile's rows, grow by those of the changes.
HWY_INLINE void add_changes(const float* changes, Tile tile, Part& part, float* squares) {
  Block& block = block_at(part, tile);
  const int height = kJpegBlock * part.repeat_down;
  if (!part.is_plain && !block.has_changes) std::fill_n(block.changes, kJpegBlock * height, 0.0f);
  block.is_changed = true;
  block.has_changes = !part.is_plain;
  float* sums = part.is_plain ? block.samples : block.changes + tile.y % height;
  for (std::size_t y = 0; y < kJpegBlock; y += hn::Lanes(Floats())) {
    Float square = load(squares + y);
    for (int x = 0; x < kJpegBlock; ++x) {
      float* to = sums + part.column[tile.x + x] * height + y;
      const Float change = load(changes + x * kJpegBlock + y);
      store(hn::Add(load(to), change), to);
      square = hn::Add(square, hn::Mul(change, change));
    }
    if (!part.is_plain) store(square, squares + y);
  }
}

// A sample changes by the mean of what its pixels change by; squares shrink to those of what that leaves.
template <int kRepeatDown>
void apply_changes(const Part& part, Block& block, float* squares) {
  const float count = static_cast<float>(part.repeat_across * kRepeatDown), share = 1 / count;
  for (int n = 0; n < kJpegArea; ++n) {
    float sum = block.changes[n * kRepeatDown];
    for (int m = 1; m < kRepeatDown; ++m) sum += block.changes[n * kRepeatDown + m];
    block.changes[n] = sum * share;
  }
  for (std::size_t y = 0; y < kJpegBlock; y += hn::Lanes(Floats())) {
    Float square = hn::Zero(Floats());
    for (std::size_t n = y; n < kJpegArea; n += kJpegBlock) {
      const Float change = load(block.changes + n);
      store(hn::Add(load(block.samples + n), change), block.samples + n);
      square = hn::Add(square, hn::Mul(change, change));
    }
    store(hn::Sub(load(squares + y), times(square, count)), squares + y);
  }
}

void finish(const Part& part, Block& block, float* squares) {
  constexpr decltype(&apply_changes<1>) kApply[] = {apply_changes<1>, apply_changes<2>, apply_changes<3>, apply_changes<4>};
  if (block.has_changes) kApply[part.repeat_down - 1](part, block, squares);
  close(block);
  *block.in_sixteenths = 1;
}

void clip_tile(Region& region, Tile tile, float* squares) {
  static constexpr float kNone[kJpegArea] = {};
  alignas(64) float room[kMaxComponents][kJpegArea], changes[kMaxComponents * kJpegArea];
  const auto pixels = [&](int c) { return c < region.count ? pixels_of(region.parts[c], tile, room[c]) : kNone; };
  if (!find_changes({pixels(0), pixels(1), pixels(2)}, changes)) return;
  for (int c = 0; c < region.count; ++c) add_changes(changes + c * kJpegArea, tile, region.parts[c], squares);
}

// Of the deviations from the mean: the mean of their squares, in parts.
HWY_INLINE float squares_of(const Scales& scales, const std::int16_t* levels) {
  const hn::CappedTag<std::int16_t, 32> d;
  const hn::RepartitionToWide<decltype(d)> wide;
  auto sum = hn::Zero(wide), other_sum = hn::Zero(wide);
  for (std::size_t n = 0; n < kJpegArea; n += hn::Lanes(d)) {
    const auto level = hn::LoadU(d, levels + n);
    const auto magnitude = hn::Max(level, hn::SaturatedSub(hn::Zero(d), level));  // -32768 has no opposite
    const auto counted = hn::Min(magnitude, hn::Load(d, scales.most_levels.data() + n));
    const auto parts = hn::Mul(counted, hn::Load(d, scales.parts.data() + n));
    sum = hn::ReorderWidenMulAccumulate(wide, parts, parts, sum, other_sum);
  }
  return static_cast<float>(hn::GetLane(hn::SumOfLanes(wide, hn::Add(sum, other_sum))));
}

// Of a row of blocks, for each of the tiles below them. Writes up to kMaxRepeat more.
HWY_INLINE void measure_row(const JpegComponent& component, int row, Part& part) {
  const std::int16_t* levels = component.blocks + component.row_stride * row;
  float *means = part.means.data(), *squares = part.squares.data();
  for (int x = 0; x < component.blocks_across; ++x, levels += kJpegArea) {
    std::fill_n(means, kMaxRepeat, levels[0] * part.scales.inverse[0]);
    std::fill_n(squares, kMaxRepeat, squares_of(part.scales, levels));
    means += component.repeat_across;
    squares += component.repeat_across;
  }
}

// How far samples of a colour may be from 0.
HWY_INLINE Float distance(Float mean, Float deviation) {
  const Float near = hn::Max(times(deviation, kDeviations), hn::Set(Floats(), kFar - kOutside));
  return hn::Add(hn::Abs(mean), near);
}

// The largest of a tile's colours' distances. At worst, luma and chroma deviate together.
HWY_INLINE void combine_measures(const Region& region, float* out) {
  const auto& [y, cb, cr] = region.parts;
  for (std::size_t x = 0; x < region.stride; x += hn::Lanes(Floats())) {
    const Colour mean = to_rgb(load(y.means.data() + x), load(cb.means.data() + x), load(cr.means.data() + x));
    const auto deviation = [x](const Part& part) HWY_ATTR {
      return times(hn::Sqrt(load(part.squares.data() + x)), 1.0f / kParts);
    };
    const Float luma = deviation(y);
    const Colour chroma = to_rgb(hn::Zero(Floats()), deviation(cb), deviation(cr));
    const Float red = distance(mean.red, hn::Add(luma, chroma.red)), blue = distance(mean.blue, hn::Add(luma, chroma.blue));
    const Float green = distance(mean.green, hn::Sub(luma, chroma.green));  // whose factors are below 0
    store(hn::Max(red, hn::Max(green, blue)), out + x);
  }
  std::fill(out + region.tiles_across, out + region.stride, 0.0f);
}

HWY_INLINE void measure_tiles(std::span<const JpegComponent> components, int row, Region& region) {
  for (int c = 0; c < region.count; ++c) {
    Part& part = region.parts[c];
    if (row % part.repeat_down != 0) continue;  // the same blocks as the row before
    measure_row(components[c], row / part.repeat_down, part);
  }
  combine_measures(region, region.farthest.data() + region.stride * (row % region.down));
}

// A component's blocks of the region in this column and row of regions.
void begin(JpegComponent& component, int column, int row, Part& part) {
  Block* block = part.blocks.data();
  for (int y = row * part.down; y < (row + 1) * part.down; ++y) {
    for (int x = column * part.across; x < (column + 1) * part.across; ++x, ++block) {
      block->is_open = block->is_changed = block->has_changes = false;
      if (x >= component.blocks_across || y >= component.blocks_down) continue;
      block->levels = component.blocks + component.row_stride * y + std::size_t{kJpegArea} * x;
      block->in_sixteenths = component.in_sixteenths.data() + std::size_t(component.blocks_across) * y + x;
    }
  }
}

void clip_region(std::span<JpegComponent> components, int column, int row, const float* farthest, Region& region) {
  float squares[kJpegBlock] = {};
  for (int c = 0; c < region.count; ++c) begin(components[c], column, row, region.parts[c]);
  for (int y = 0; y < region.down; ++y) {
    for (int x = 0; x < region.across; ++x) {
      if (farthest[region.stride * y + x] > kFar) clip_tile(region, {x * kJpegBlock, y * kJpegBlock}, squares);
    }
  }
  for (int c = 0; c < region.count; ++c) {
    Part& part = region.parts[c];
    for (int n = 0; n < part.across * part.down; ++n) {
      if (part.blocks[n].is_changed) finish(part, part.blocks[n], squares);
    }
  }
  for (const float square : squares) region.squares_left += square;
}

bool any_far(const Region& region, const float* farthest) {
  float most = 0;
  for (int y = 0; y < region.down; ++y) {
    for (int x = 0; x < region.across; ++x) most = std::max(most, farthest[region.stride * y + x]);
  }
  return most > kFar;
}

// A row of regions.
void clip_row(std::span<JpegComponent> components, int row, Region& region) {
  std::fill(region.farthest.begin(), region.farthest.end(), 0.0f);
  for (int n = 0; n < std::min(region.down, region.tiles_down - row * region.down); ++n) {
    measure_tiles(components, row * region.down + n, region);
  }
  for (int x = 0; x < region.tiles_across; x += region.across) {
    const float* farthest = region.farthest.data() + x;
    if (any_far(region, farthest)) clip_region(components, x / region.across, row, farthest, region);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace imagecalc
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace imagecalc {
namespace {

void prepare(std::span<JpegComponent> components, Region& region) {
  region.count = static_cast<int>(components.size());
  region.across = region.down = 1;
  region.tiles_across = region.tiles_down = std::numeric_limits<int>::max();
  for (const JpegComponent& component : components) {
    region.across = std::max(region.across, component.repeat_across);
    region.down = std::max(region.down, component.repeat_down);
    region.tiles_across = std::min(region.tiles_across, component.blocks_across * component.repeat_across);
    region.tiles_down = std::min(region.tiles_down, component.blocks_down * component.repeat_down);
  }
  region.stride = (std::size_t(region.tiles_across) + 2 * kMaxRepeat + kJpegBlock) / kJpegBlock * kJpegBlock;
  region.farthest.resize(region.stride * region.down);
  for (Part& part : region.parts) {
    part.means.assign(region.stride, 0);
    part.squares.assign(region.stride, 0);
  }
  for (int c = 0; c < region.count; ++c) prepare(components[c], region, region.parts[c]);
}

}  // namespace

HWY_EXPORT(clip_row);

float clip(std::span<JpegComponent> components, const Interrupt& interrupt) {
  Region region;
  prepare(components, region);
  for (JpegComponent& component : components) {
    component.in_sixteenths.assign(std::size_t(component.blocks_across) * component.blocks_down, 0);
  }
  for (int row = 0; row * region.down < region.tiles_down; ++row) {
    interrupt.check();
    HWY_DYNAMIC_DISPATCH(clip_row)(components, row, region);
  }
  const double samples = double{kJpegArea} * region.tiles_across * region.tiles_down * region.count;
  return static_cast<float>(std::sqrt(std::max(region.squares_left, 0.0) / samples));
}

}  // namespace imagecalc
#endif
