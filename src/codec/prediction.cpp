#include "codec/prediction.h"

#include <algorithm>
#include <iterator>

namespace imagecalc {
namespace {

std::int32_t difference(std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) - static_cast<std::uint32_t>(b));
}
std::int32_t sum(std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
}

// The lower of the two where north-west is not below either, the higher where it is not above either, else the plane through
// all three: which is the middle one of west, north and west + north - north-west.
std::int32_t median_edge(std::int32_t west, std::int32_t north, std::int32_t north_west) {
  const std::int64_t low = std::min(west, north), high = std::max(west, north);
  return static_cast<std::int32_t>(std::clamp(low + high - north_west, low, high));
}

// plane: blocks of which those before (down, across) in raster order are known.
std::int32_t predict(const std::int32_t* plane, int blocks_across, int down, int across) {
  const std::int32_t* here = plane + std::size_t(down) * blocks_across + across;
  if (down == 0) return across == 0 ? 0 : here[-1];
  if (across == 0) return here[-blocks_across];
  return median_edge(here[-1], here[-blocks_across], here[-blocks_across - 1]);
}

}  // namespace

// Backwards, since every prediction needs what comes before it as it was.
void to_differences(std::int32_t* values, const Geometry& geometry) {
  for (int down = geometry.blocks_down - 1; down >= 0; --down) {
    for (int across = geometry.blocks_across - 1; across >= 0; --across) {
      std::int32_t& value = values[std::size_t(down) * geometry.blocks_across + across];
      value = difference(value, predict(values, geometry.blocks_across, down, across));
    }
  }
}

void from_differences(std::int32_t* values, const Geometry& geometry) {
  std::int32_t* row = values;
  for (int down = 0; down < geometry.blocks_down; ++down, row += geometry.blocks_across) {
    const std::int32_t* north = row - (down == 0 ? 0 : geometry.blocks_across);
    std::int32_t west = row[0] = sum(row[0], predict(values, geometry.blocks_across, down, 0));
    for (int across = 1; across < geometry.blocks_across; ++across) {
      west = row[across] = sum(row[across], down == 0 ? west : median_edge(west, north[across], north[across - 1]));
    }
  }
}

void from_differences(BytePlanes& planes, int channels, const Geometry& geometry) {
  const std::size_t blocks = static_cast<std::size_t>(geometry.blocks()), channel = planes.size() / channels;
  std::vector<std::int32_t> values(blocks);
  std::vector<BytePlanes::Large> large;
  auto next = planes.large.begin();
  for (std::size_t begin = 0; begin < planes.size(); begin += channel) {
    std::uint8_t* bytes = planes.bytes() + begin;
    std::transform(bytes, bytes + blocks, values.begin(), from_zigzag);
    for (; next != planes.large.end() && next->place < begin + blocks; ++next) values[next->place - begin] = next->value;
    from_differences(values.data(), geometry);
    for (std::size_t n = 0; n < blocks; ++n) {
      bytes[n] = static_cast<std::uint8_t>(std::min<std::uint32_t>(to_zigzag(values[n]), BytePlanes::kLarge));
      if (bytes[n] == BytePlanes::kLarge) large.push_back({begin + n, values[n]});
    }
    for (; next != planes.large.end() && next->place < begin + channel; ++next) large.push_back(*next);
  }
  planes.large = std::move(large);
}

}  // namespace imagecalc
