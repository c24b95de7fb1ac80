// Pictures as pixels: reading files (JPEG, PNG, WebP), scaling them, writing files (JPEG, PNG).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "format/error.h"
#include "format/format.h"

namespace imagecalc {

using Bytes = std::span<const std::uint8_t>;

// Interleaved 8-bit samples, row by row: RGB (channels 3) or gray (channels 1).
struct Picture {
  int width = 0, height = 0, channels = 0;
  std::vector<std::uint8_t> samples;  // height * width * channels
};

// Planar float samples in 0..255, RGB or gray: [channels][height][width].
struct Planes {
  int width = 0, height = 0, channels = 0;
  std::vector<float> samples;

  float* plane(int c) { return samples.data() + std::size_t(c) * width * height; }
  const float* plane(int c) const { return samples.data() + std::size_t(c) * width * height; }
};

// A rectangle of a picture in pixels.
struct Box {
  int left = 0, top = 0, width = 0, height = 0;
};

// Checked against what a file's header claims, before memory is asked for.
struct Limits {
  std::int64_t max_pixels = 100'000'000;
  int max_scans = 100;  // of a progressive JPEG: an empty scan costs a few bytes in the file but a pass over the picture
};

// Told by content, never by name.
enum class FileKind { unknown, jpeg, png, webp };
FileKind file_kind(Bytes file);

// Whether the bytes begin like a picture file that read_picture may be asked to read (told by content: JPEG, PNG, WebP).
bool looks_like_picture(Bytes file);

// What becomes of EXIF's orientation: pictures are taken as they are stored, as PyTorch's loaders do, or turned and mirrored
// as EXIF asks for.
enum class Orientation { as_stored, upright };

// Decodes a picture file to RGB or gray, 8 bits a sample; what is transparent lies over white. ICC profiles and gamma are
// ignored. Throws Error: unsupported_picture, bad_picture (damaged or truncated), limit_exceeded, cancelled.
Picture read_picture(Bytes file, const Limits& limits, const Interrupt& interrupt,
                     Orientation orientation = Orientation::as_stored);

// quality: 1..100, else Error(invalid_argument).
std::vector<std::uint8_t> write_jpeg(const Picture& picture, int quality, const Interrupt& interrupt = {});

// Lossless.
std::vector<std::uint8_t> write_png(const Picture& picture, const Interrupt& interrupt = {});

// Bilinear with anti-aliasing, as torchvision's: a triangle filter as wide as the reduction. Scales the box of the picture
// to width x height, in float, with no rounding between or after. A size that is already right is copied.
Planes scale(const Picture& picture, const Box& box, int width, int height, const Interrupt& interrupt = {});

// Throws Error(invalid_argument) unless the picture has samples, all of them, in 1 or 3 channels.
void check_whole(const Picture& picture);

// The same, and unless the box lies in it.
void check_box(const Picture& picture, const Box& box);

}  // namespace imagecalc
