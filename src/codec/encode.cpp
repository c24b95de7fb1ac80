#include "codec/encode.h"

#include <algorithm>
#include <optional>

#include "codec/clip.h"
#include "codec/exif.h"
#include "codec/jpeg.h"
#include "codec/recombine.h"

namespace imagecalc {
namespace {

// Past this many kept rows and columns a fast DCT of pixels takes less than the products with JPEG's coefficients.
constexpr int kMaxRecombined = 32;

// What clip() lets pass counts in pictures of so few pixels, and where the quantizer's steps are as large as only 16-bit
// tables have them.
constexpr std::int64_t kMinPixels = 64 * 64 + 1;
constexpr int kMaxStep = 255;

// What clip() may leave undone, of the 1.5 grey levels that both ways may differ by; memory for pictures of common sizes.
constexpr float kMaxUndone = 1;
constexpr std::int64_t kMaxMemory = std::int64_t{256} << 20;

bool is_coarse(const JpegComponent& component) {
  return *std::max_element(component.steps.begin(), component.steps.end()) > kMaxStep;
}

// Nothing where the file has to be decoded.
std::optional<Coefficients> recombine_file(Bytes file, const Format& format, const Limits& limits,
                                           const Interrupt& interrupt) {
  JpegFile jpeg(file, limits, interrupt);
  if (!jpeg.has_jfif_planes() || std::int64_t{jpeg.width()} * jpeg.height() < kMinPixels) return std::nullopt;
  if (recombine_memory(jpeg.width(), jpeg.height(), format) > kMaxMemory) return std::nullopt;
  auto components = jpeg.read_coefficients();
  if (!components || std::any_of(components->begin(), components->end(), is_coarse)) return std::nullopt;
  if (clip(*components, interrupt) > kMaxUndone) return std::nullopt;
  const std::vector<float> coefficients = recombine(*components, jpeg.width(), jpeg.height(), format, interrupt);
  Coefficients result = describe(format, static_cast<int>(components->size()), jpeg.width(), jpeg.height());
  result.values.resize(coefficients.size());
  quantize(coefficients.data(), coefficients.size(), format.quantizer, result.values.data());
  return result;
}

// JPEG's coefficients are read to the end of the file, its pixels to the last row: damage behind that makes no difference.
std::optional<Coefficients> recombine_sound_file(Bytes file, const Format& format, const Limits& limits,
                                                 const Interrupt& interrupt) {
  try {
    return recombine_file(file, format, limits, interrupt);
  } catch (const Error& error) {
    if (error.fault() != Fault::bad_picture && error.fault() != Fault::unsupported_picture) throw;
    return std::nullopt;
  }
}

}  // namespace

void check_coded_size(const Format& format, const Limits& limits) {
  if (std::int64_t{format.size} * format.size <= limits.max_pixels) return;
  throw Error(Fault::limit_exceeded, "pictures of format " + to_string(format) + " have more pixels than the limit allows",
              "Use a format of a smaller size, or raise imagecalc.max_pixels.");
}

Coefficients encode_file(Bytes file, const Format& format, const Limits& limits, const Interrupt& interrupt,
                         Orientation orientation) {
  check(format);
  check_coded_size(format, limits);
  if (file_kind(file) != FileKind::jpeg) {
    return encode(read_picture(file, limits, interrupt, orientation), format, interrupt);
  }
  const int turn = orientation == Orientation::upright ? exif_orientation(file) : 1;
  if (turn == 1 && format.kept <= kMaxRecombined) {
    if (auto coefficients = recombine_sound_file(file, format, limits, interrupt)) return *std::move(coefficients);
  }
  return encode(upright(read_jpeg(file, limits, interrupt, Upsampling::repeated), turn, interrupt), format, interrupt);
}

}  // namespace imagecalc
