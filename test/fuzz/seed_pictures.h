// Small picture files of many kinds.
#pragma once

#include <string>
#include <vector>

#include "codec/picture.h"

namespace imagecalc::fuzz {

struct Seed {
  std::string name;
  std::vector<std::uint8_t> bytes;
};

// A slope with an edge in it; channels 1 to 4.
Picture drawn(int width, int height, int channels);

std::vector<Seed> jpeg_seeds();
std::vector<Seed> png_seeds();
std::vector<Seed> webp_seeds();

}  // namespace imagecalc::fuzz
