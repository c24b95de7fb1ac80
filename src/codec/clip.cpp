#include "codec/clip.h"

#include <algorithm>
#include <array>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/clip.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

// What does not depend on the CPU path.
#ifndef IMAGECALC_CODEC_CLIP_CPP_
#define IMAGECALC_CODEC_CLIP_CPP_
namespace imagecalc {
namespace {

constexpr int kEdge = 8, kArea = kEdge * kEdge;
constexpr int kMaxRepeat = 4, kMaxBlocks = kMaxRepeat * kMaxRepeat, kMaxComponents = 3;
constexpr float kLowest = -128, kHighest = 127;  // samples are less 128, as in coefficients
constexpr float kSixteenth = 1.0f / 16;

constexpr float kRedOfCr = 1.402f, kBlueOfCb = 1.772f, kGreenOfCb = -0.344136f, kGreenOfCr = -0.714136f;
constexpr float kLumaOfRed = 0.299f, kLumaOfGreen = 0.587f, kLumaOfBlue = 0.114f;

// Grey levels. Decoders round away what lies nearer to the range; and what a block may reach beyond it by less than kLittle
// it hardly ever does.
constexpr float kRounded = 0.5f, kLittle = 4;

// A part of half a sum of magnitudes, in integers: their sums are the same in any order.
constexpr int kPartsOfLevel = 256, kMaxLevel = 2047, kMaxWeight = 16383;

// Of a component's quantized levels.
struct Scales {
  alignas(64) std::array<std::int16_t, kArea> reach;  // what a level adds at most to how far a sample is from the mean
  std::array<float, kArea> inverse;                   // dequantizes, with the orthonormal DCT's factors
};

float orthonormal(int frequency) { return frequency == 0 ? 0.35355339f : 0.5f; }

// Both directions' factor for one coefficient.
float orthonormal_pair(int place) { return orthonormal(place / kEdge) * orthonormal(place % kEdge); }

Scales make_scales(const JpegComponent& component) {
  Scales scales;
  for (int n = 0; n < kArea; ++n) {
    scales.inverse[n] = component.steps[n] * orthonormal_pair(n);
    scales.reach[n] = static_cast<std::int16_t>(std::min(scales.inverse[n] * kPartsOfLevel + 0.5f, float{kMaxWeight}));
  }
  scales.reach[0] = 0;
  return scales;
}

// Where a sample may be: so far from the mean.
struct Range {
  float mean, reach;
};

// One of a component's blocks, while its region is at work.
struct Block {
  std::int16_t* levels;  // null outside the picture
  std::uint8_t* in_sixteenths;
  Range range;
  bool is_open, is_changed;
  float samples[kArea + kEdge];        // [column][row], and room to read a vector from any
  float changes[kArea * kMaxRepeat];   // [column][row of pixels]: sums over the pixels of a row that share a sample
};

// One component's share in a region.
struct Part {
  int across, down;  // blocks
  int repeat_across, repeat_down;
  Scales scales;
  // For each of the region's columns and rows of tiles: the block's place in blocks is the sum.
  std::array<std::uint8_t, kMaxRepeat> block_column, block_row;
  // For each of the region's columns and rows of pixels: the sample in its block.
  std::array<std::uint8_t, kEdge * kMaxRepeat> column, row;
  // For each fourth row of pixels: how many samples below it the next rows' are.
  std::array<std::array<std::int32_t, kEdge>, 2 * kMaxRepeat> steps_down;
  std::array<Block, kMaxBlocks> blocks;
};

// The least square of whole blocks of each component: 8 x 8 pixels, as often as the coarsest component repeats its samples.
struct Region {
  int count, across, down;  // components, tiles of 8 x 8 pixels
  std::array<Part, kMaxComponents> parts;
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
  part.scales = make_scales(component);
  for (int n = 0; n < kMaxRepeat; ++n) {
    part.block_column[n] = static_cast<std::uint8_t>(n / component.repeat_across);
    part.block_row[n] = static_cast<std::uint8_t>(n / component.repeat_down * part.across);
  }
  for (int n = 0; n < kEdge * kMaxRepeat; ++n) {
    part.column[n] = static_cast<std::uint8_t>(n / component.repeat_across % kEdge);
    part.row[n] = static_cast<std::uint8_t>(n / component.repeat_down % kEdge);
    for (int m = 0; m < kEdge && n % 4 == 0; ++m) {
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

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, kEdge>;
using Float = hn::Vec<Floats>;

HWY_INLINE Float load(const float* place) { return hn::LoadU(Floats(), place); }
HWY_INLINE void store(Float value, float* place) { hn::StoreU(value, Floats(), place); }
HWY_INLINE Float times(Float value, float factor) { return hn::Mul(value, hn::Set(Floats(), factor)); }

constexpr float kRootOfHalf = 0.707106781f, kCosine = 0.923879533f, kSine = 0.382683432f;
constexpr float kHalfSecants[] = {0.509795579f, 0.601344887f, 0.899976223f, 2.562915448f};

struct Four {
  Float a, b, c, d;
};

// DCTs of four places, without factors.
HWY_INLINE Four forward_of_4(Float a, Float b, Float c, Float d) {
  const Float outer = hn::Add(a, d), inner = hn::Add(b, c), slope = hn::Sub(a, d), twist = hn::Sub(b, c);
  return {hn::Add(outer, inner), hn::Add(times(slope, kCosine), times(twist, kSine)),
          times(hn::Sub(outer, inner), kRootOfHalf), hn::Sub(times(slope, kSine), times(twist, kCosine))};
}

HWY_INLINE Four inverse_of_4(Float a, Float b, Float c, Float d) {
  const Float middle = times(c, kRootOfHalf), up = hn::Add(a, middle), down = hn::Sub(a, middle);
  const Float outer = hn::Add(times(b, kCosine), times(d, kSine)), inner = hn::Sub(times(b, kSine), times(d, kCosine));
  return {hn::Add(up, outer), hn::Add(down, inner), hn::Sub(down, inner), hn::Sub(up, outer)};
}

// Down the columns of a block, in place: B. G. Lee's split, as in dct.h.
HWY_INLINE void forward_down(float* block) {
  for (std::size_t x = 0; x < kEdge; x += hn::Lanes(Floats())) {
    const auto row = [&](int n) HWY_ATTR { return load(block + n * kEdge + x); };
    const auto sum = [&](int n) HWY_ATTR { return hn::Add(row(n), row(7 - n)); };
    const auto difference = [&](int n) HWY_ATTR { return times(hn::Sub(row(n), row(7 - n)), kHalfSecants[n]); };
    const Four even = forward_of_4(sum(0), sum(1), sum(2), sum(3));
    const Four odd = forward_of_4(difference(0), difference(1), difference(2), difference(3));
    const Float rows[] = {even.a, hn::Add(odd.a, odd.b), even.b, hn::Add(odd.b, odd.c),
                          even.c, hn::Add(odd.c, odd.d), even.d, odd.d};
    for (int n = 0; n < kEdge; ++n) store(rows[n], block + n * kEdge + x);
  }
}

HWY_INLINE void inverse_down(float* block) {
  for (std::size_t x = 0; x < kEdge; x += hn::Lanes(Floats())) {
    const auto row = [&](int n) HWY_ATTR { return load(block + n * kEdge + x); };
    const Four even = inverse_of_4(row(0), row(2), row(4), row(6));
    const Four odd =
        inverse_of_4(row(1), hn::Add(row(1), row(3)), hn::Add(row(3), row(5)), hn::Add(row(5), row(7)));
    const Float sums[] = {even.a, even.b, even.c, even.d}, odds[] = {odd.a, odd.b, odd.c, odd.d};
    for (int n = 0; n < 4; ++n) {
      const Float difference = times(odds[n], kHalfSecants[n]);
      store(hn::Add(sums[n], difference), block + n * kEdge + x);
      store(hn::Sub(sums[n], difference), block + (7 - n) * kEdge + x);
    }
  }
}

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void transpose(const float* in, float* out) {
  for (int n = 0; n < kArea; ++n) out[n % kEdge * kEdge + n / kEdge] = in[n];
}
#else
// Four rows; each four columns of theirs are turned apart.
HWY_INLINE Four turn(const float* rows) {
  const Float a = load(rows), b = load(rows + kEdge), c = load(rows + 2 * kEdge), d = load(rows + 3 * kEdge);
  const Float left = hn::InterleaveLower(Floats(), a, c), left_odd = hn::InterleaveLower(Floats(), b, d);
  const Float right = hn::InterleaveUpper(Floats(), a, c), right_odd = hn::InterleaveUpper(Floats(), b, d);
  return {hn::InterleaveLower(Floats(), left, left_odd), hn::InterleaveUpper(Floats(), left, left_odd),
          hn::InterleaveLower(Floats(), right, right_odd), hn::InterleaveUpper(Floats(), right, right_odd)};
}

// A vector is loaded as it was stored: the CPU would wait for one that it has to put together from two.
HWY_INLINE void transpose(const float* in, float* out) {
  for (std::size_t x = 0; x < kEdge; x += hn::Lanes(Floats())) {
    const Four top = turn(in + x), bottom = turn(in + kArea / 2 + x);
    const Float tops[] = {top.a, top.b, top.c, top.d}, bottoms[] = {bottom.a, bottom.b, bottom.c, bottom.d};
    float* to = out + x * kEdge;
    for (int n = 0; n < 4; ++n, to += kEdge) {
#if HWY_MAX_BYTES >= 32
      store(hn::ConcatLowerLower(Floats(), bottoms[n], tops[n]), to);
      store(hn::ConcatUpperUpper(Floats(), bottoms[n], tops[n]), to + kArea / 2);
#else
      store(tops[n], to);
      store(bottoms[n], to + kEdge / 2);
#endif
    }
  }
}
#endif

// From levels to samples.
void open(const Scales& scales, Block& block) {
  if (block.is_open) return;
  block.is_open = true;
  const hn::Rebind<std::int32_t, Floats> whole;
  const hn::Rebind<std::int16_t, Floats> narrow;
  float rows[kArea];
  for (std::size_t n = 0; n < kArea; n += hn::Lanes(Floats())) {
    const auto level = hn::ConvertTo(Floats(), hn::PromoteTo(whole, hn::LoadU(narrow, block.levels + n)));
    store(hn::Mul(level, load(scales.inverse.data() + n)), rows + n);
  }
  inverse_down(rows);
  transpose(rows, block.samples);
  inverse_down(block.samples);
}

// From samples to sixteenths.
void close(Block& block) {
  static const auto factors = [] {
    std::array<float, kArea> values;
    for (int n = 0; n < kArea; ++n) values[n] = orthonormal_pair(n) / kSixteenth;
    return values;
  }();
  const hn::Rebind<std::int16_t, Floats> narrow;
  float rows[kArea];
  forward_down(block.samples);
  transpose(block.samples, rows);
  forward_down(rows);
  for (std::size_t n = 0; n < kArea; n += hn::Lanes(Floats())) {
    const auto value = hn::NearestInt(hn::Mul(load(rows + n), load(factors.data() + n)));
    hn::StoreU(hn::DemoteTo(narrow, value), narrow, block.levels + n);
  }
}

HWY_INLINE Range range_of(const Scales& scales, const std::int16_t* levels) {
  const hn::CappedTag<std::int16_t, 32> d;
  const hn::RepartitionToWide<decltype(d)> wide;
  const auto largest = hn::Set(d, kMaxLevel), smallest = hn::Set(d, -kMaxLevel);
  auto sum = hn::Zero(wide), other_sum = hn::Zero(wide);
  for (std::size_t n = 0; n < kArea; n += hn::Lanes(d)) {
    const auto level = hn::Min(hn::Max(hn::LoadU(d, levels + n), smallest), largest);
    const auto weight = hn::Load(d, scales.reach.data() + n);
    sum = hn::ReorderWidenMulAccumulate(wide, hn::Abs(level), weight, sum, other_sum);
  }
  const std::int32_t parts = hn::GetLane(hn::SumOfLanes(wide, hn::Add(sum, other_sum)));
  return {levels[0] * scales.inverse[0], static_cast<float>(parts) * (0.5f / kPartsOfLevel)};
}

HWY_INLINE bool is_outside(Range range) {
  return range.mean + range.reach > kHighest + kLittle || range.mean - range.reach < kLowest - kLittle;
}

// Whether red, green or blue may be outside.
HWY_INLINE bool may_be_outside(Range y, Range cb, Range cr) {
  const auto with = [&](float blue, float red) HWY_ATTR {
    return Range{y.mean + blue * cb.mean + red * cr.mean,
                 y.reach + std::abs(blue) * cb.reach + std::abs(red) * cr.reach};
  };
  return is_outside(with(0, kRedOfCr)) || is_outside(with(kGreenOfCb, kGreenOfCr)) || is_outside(with(kBlueOfCb, 0));
}

HWY_INLINE Block& block_at(Part& part, Tile tile) {
  return part.blocks[part.block_row[tile.y / kEdge] + part.block_column[tile.x / kEdge]];
}

// Samples as pixels, [column][row]: each again and again. room: for them, where they are not there yet.
HWY_INLINE const float* pixels_of(Part& part, Tile tile, float* room) {
  Block& block = block_at(part, tile);
  open(part.scales, block);
  if (part.repeat_across == 1 && part.repeat_down == 1) return block.samples;
  for (std::size_t y = 0; y < kEdge; y += hn::Lanes(Floats())) {
    const auto steps = hn::SetTableIndices(Floats(), part.steps_down[(tile.y + y) / 4].data());
    const float* row = block.samples + part.row[tile.y + y];
    for (int x = 0; x < kEdge; ++x) {
      store(hn::TableLookupLanes(load(row + part.column[tile.x + x] * kEdge), steps), room + x * kEdge + y);
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

HWY_INLINE Float cut(Float value) {
  return hn::Min(hn::Max(value, hn::Set(Floats(), kLowest)), hn::Set(Floats(), kHighest));
}

// A tile's components as pixels.
struct Pixels {
  const float *y, *cb, *cr;
};

// Whether a decoder would cut anything. Luma is a mean of the three colours, so it is not outside where they are not.
HWY_INLINE bool is_cut(const Pixels& pixels) {
  Float highest = hn::Zero(Floats()), lowest = highest;
  for (std::size_t n = 0; n < kArea; n += hn::Lanes(Floats())) {
    const Colour colour = to_rgb(load(pixels.y + n), load(pixels.cb + n), load(pixels.cr + n));
    highest = hn::Max(highest, hn::Max(hn::Max(colour.red, colour.green), colour.blue));
    lowest = hn::Min(lowest, hn::Min(hn::Min(colour.red, colour.green), colour.blue));
  }
  const auto above = hn::Gt(highest, hn::Set(Floats(), kHighest + kRounded));
  const auto below = hn::Lt(lowest, hn::Set(Floats(), kLowest - kRounded));
  return !hn::AllFalse(Floats(), hn::Or(above, below));
}

// What decoders add to luma, blue and red differences by cutting luma, then the colours. changes: [3][column][row].
HWY_INLINE void find_changes(const Pixels& pixels, float* changes) {
  for (std::size_t n = 0; n < kArea; n += hn::Lanes(Floats())) {
    const Float y = load(pixels.y + n), cut_y = cut(y);
    const Colour colour = to_rgb(cut_y, load(pixels.cb + n), load(pixels.cr + n));
    const Float red = hn::Sub(cut(colour.red), colour.red), green = hn::Sub(cut(colour.green), colour.green);
    const Float blue = hn::Sub(cut(colour.blue), colour.blue);
    const Float luma = hn::Add(hn::Add(times(red, kLumaOfRed), times(green, kLumaOfGreen)), times(blue, kLumaOfBlue));
    store(hn::Add(hn::Sub(cut_y, y), luma), changes + n);
    store(times(hn::Sub(blue, luma), 1 / kBlueOfCb), changes + kArea + n);
    store(times(hn::Sub(red, luma), 1 / kRedOfCr), changes + 2 * kArea + n);
  }
}

HWY_INLINE void add_changes(const float* changes, Tile tile, Part& part) {
  Block& block = block_at(part, tile);
  const int height = kEdge * part.repeat_down;
  if (!block.is_changed) std::fill_n(block.changes, kEdge * height, 0.0f);
  block.is_changed = true;
  for (int x = 0; x < kEdge; ++x) {
    float* to = block.changes + part.column[tile.x + x] * height + tile.y % height;
    for (std::size_t y = 0; y < kEdge; y += hn::Lanes(Floats())) {
      store(hn::Add(load(to + y), load(changes + x * kEdge + y)), to + y);
    }
  }
}

// A sample changes by the mean of what its pixels change by.
template <int kRepeatDown>
HWY_INLINE void apply(const Part& part, Block& block) {
  const float share = 1.0f / static_cast<float>(part.repeat_across * kRepeatDown);
  for (int n = 0; n < kArea; ++n) {
    float sum = block.changes[n * kRepeatDown];
    for (int m = 1; m < kRepeatDown; ++m) sum += block.changes[n * kRepeatDown + m];
    block.samples[n] += sum * share;
  }
}

void finish(const Part& part, Block& block) {
  if (part.repeat_down == 1) apply<1>(part, block);
  if (part.repeat_down == 2) apply<2>(part, block);
  if (part.repeat_down == 3) apply<3>(part, block);
  if (part.repeat_down == 4) apply<4>(part, block);
  close(block);
  *block.in_sixteenths = 1;
}

void clip_tile(Region& region, Tile tile) {
  static constexpr float kNone[kArea] = {};
  float room[kMaxComponents][kArea], changes[kMaxComponents * kArea];
  const auto pixels = [&](int c) { return c < region.count ? pixels_of(region.parts[c], tile, room[c]) : kNone; };
  const Pixels components{pixels(0), pixels(1), pixels(2)};
  if (!is_cut(components)) return;
  find_changes(components, changes);
  for (int c = 0; c < region.count; ++c) add_changes(changes + c * kArea, tile, region.parts[c]);
}

HWY_INLINE void begin_block(JpegComponent& component, int column, int row, const Scales& scales, Block& block) {
  block.levels = nullptr;
  if (column >= component.blocks_across || row >= component.blocks_down) return;
  block.levels = component.blocks + component.row_stride * row + std::size_t{kArea} * column;
  block.in_sixteenths = component.in_sixteenths.data() + std::size_t(component.blocks_across) * row + column;
  block.range = range_of(scales, block.levels);
  block.is_open = block.is_changed = false;
}

// A component's blocks of the region in this column and row of regions.
HWY_INLINE void begin(JpegComponent& component, int column, int row, Part& part) {
  Block* block = part.blocks.data();
  for (int y = row * part.down; y < (row + 1) * part.down; ++y) {
    for (int x = column * part.across; x < (column + 1) * part.across; ++x) {
      begin_block(component, x, y, part.scales, *block++);
    }
  }
}

// Tiles of which a component has nothing lie outside the picture.
HWY_INLINE bool may_be_cut(Region& region, Tile tile) {
  Range ranges[kMaxComponents] = {};
  for (int c = 0; c < region.count; ++c) {
    const Block& block = block_at(region.parts[c], tile);
    if (block.levels == nullptr) return false;
    ranges[c] = block.range;
  }
  return may_be_outside(ranges[0], ranges[1], ranges[2]);
}

void clip_region(Region& region) {
  for (Tile tile{0, 0}; tile.y < region.down * kEdge; tile.y += kEdge) {
    for (tile.x = 0; tile.x < region.across * kEdge; tile.x += kEdge) {
      if (may_be_cut(region, tile)) clip_tile(region, tile);
    }
  }
  for (int c = 0; c < region.count; ++c) {
    Part& part = region.parts[c];
    for (int n = 0; n < part.across * part.down; ++n) {
      Block& block = part.blocks[n];
      if (block.levels != nullptr && block.is_changed) finish(part, block);
    }
  }
}

void clip_row(std::span<JpegComponent> components, int columns, int row, Region& region) {
  for (int column = 0; column < columns; ++column) {
    for (int c = 0; c < region.count; ++c) begin(components[c], column, row, region.parts[c]);
    clip_region(region);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace imagecalc
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace imagecalc {

HWY_EXPORT(clip_row);

void clip(std::span<JpegComponent> components, const Interrupt& interrupt) {
  Region region;
  region.count = static_cast<int>(components.size());
  region.across = region.down = 1;
  for (const JpegComponent& component : components) {
    region.across = std::max(region.across, component.repeat_across);
    region.down = std::max(region.down, component.repeat_down);
  }
  int columns = 0, rows = 0;
  for (int c = 0; c < region.count; ++c) {
    JpegComponent& component = components[c];
    prepare(component, region, region.parts[c]);
    const Part& part = region.parts[c];
    component.in_sixteenths.assign(std::size_t(component.blocks_across) * component.blocks_down, 0);
    columns = std::max(columns, (component.blocks_across + part.across - 1) / part.across);
    rows = std::max(rows, (component.blocks_down + part.down - 1) / part.down);
  }
  for (int row = 0; row < rows; ++row) {
    interrupt.check();
    HWY_DYNAMIC_DISPATCH(clip_row)(components, columns, row, region);
  }
}

}  // namespace imagecalc
#endif
