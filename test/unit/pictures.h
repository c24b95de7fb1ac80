// Pictures for the tests: real ones from $IMAGECALC_DATA (default: ../shared/data beside the repository), else drawn ones.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "codec/picture.h"

namespace imagecalc::test {

inline std::filesystem::path data_folder() {
  if (const char* folder = std::getenv("IMAGECALC_DATA")) return folder;
  return std::filesystem::path(__FILE__).parent_path() / "../../../shared/data";
}

inline std::vector<std::uint8_t> read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Edges, slopes and noise: something for every frequency.
inline Picture drawn_picture(int width, int height, int channels, unsigned seed = 1) {
  std::mt19937 random(seed);
  Picture picture{width, height, channels, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        double wave = 60 * std::sin(0.11 * x * (c + 1) + 0.07 * y) + 40 * ((x / 9 + y / 7 + c) % 2) + 0.3 * y;
        picture.samples.push_back(static_cast<std::uint8_t>(std::clamp(90 + wave + random() % 24, 0.0, 255.0)));
      }
    }
  }
  return picture;
}

inline Picture mirrored_pixels(const Picture& picture) {
  Picture result = picture;
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      for (int c = 0; c < picture.channels; ++c) {
        const auto at = [&](int column) { return (std::size_t(y) * picture.width + column) * picture.channels + c; };
        result.samples[at(x)] = picture.samples[at(picture.width - 1 - x)];
      }
    }
  }
  return result;
}

// A photograph's bytes, or nothing where the data is absent.
inline std::vector<std::uint8_t> photograph_file() {
  static const std::vector<std::uint8_t> file = [] {
    auto bytes = read_file(data_folder() / "weather" / "sunrise1.jpg");
    if (bytes.empty()) std::cout << "[   DATA   ] " << data_folder() << " has no pictures: drawing one\n";
    return bytes;
  }();
  return file;
}

// A photograph in RGB, at least 128 x 128.
inline Picture photograph() {
  const auto file = photograph_file();
  return file.empty() ? drawn_picture(231, 173, 3) : read_picture(file, Limits{}, Interrupt{});
}

inline Picture crop(const Picture& picture, const Box& box) {
  Picture part{box.width, box.height, picture.channels, {}};
  for (int y = 0; y < box.height; ++y) {
    auto row = picture.samples.begin() +
               (std::ptrdiff_t(box.top + y) * picture.width + box.left) * std::ptrdiff_t(picture.channels);
    part.samples.insert(part.samples.end(), row, row + std::ptrdiff_t(box.width) * picture.channels);
  }
  return part;
}

inline Picture to_gray(const Picture& picture) {
  Picture gray{picture.width, picture.height, 1, {}};
  for (std::size_t n = 0; n < picture.samples.size(); n += picture.channels) gray.samples.push_back(picture.samples[n]);
  return gray;
}

class Stop final : public Interrupt {
 public:
  bool requested() const noexcept override { return true; }
};

// The fault of what the action throws; fails where it throws nothing or something else.
template <typename Action>
Fault fault_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_STRNE(error.what(), "");
    return error.fault();
  }
  ADD_FAILURE() << "nothing was thrown";
  return Fault::internal;
}

}  // namespace imagecalc::test
