#include "codec/prediction.h"

#include <algorithm>
#include <iterator>

namespace imagecalc {
namespace {

std::int32_t difference(std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) - static_cast<std::uint32_t>(b));
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
    std::int32_t west = row[0] = wrapped_sum(row[0], predict(values, geometry.blocks_across, down, 0));
    for (int across = 1; across < geometry.blocks_across; ++across) {
      west = row[across] = wrapped_sum(row[across], down == 0 ? west : median_edge(west, north[across], north[across - 1]));
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
