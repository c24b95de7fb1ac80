// Picture files of any kind: to pixels, and to stored coefficients.
#include <iterator>

#include "codec/encode.h"
#include "codec/value.h"
#include "fuzz.h"

namespace imagecalc::fuzz {
namespace {

// Small, so that many files are tried; a header may claim anything all the same.
constexpr Limits kLimits{.max_pixels = 1 << 16, .max_scans = 20};

void expect_whole(const Picture& picture) {
  require(picture.channels == 1 || picture.channels == 3, "a picture is gray or RGB");
  require(picture.width > 0 && picture.height > 0, "a picture has pixels");
  const std::int64_t pixels = std::int64_t{picture.width} * picture.height;
  require(pixels <= kLimits.max_pixels, "a picture keeps to the limit");
  require(picture.samples.size() == static_cast<std::size_t>(pixels * picture.channels), "a picture has all its samples");
}

// Native and scaled, whole blocks and parts of one; a file's length says which is tried.
Format some_format(std::size_t number) {
  static const Format kFormats[] = {parse_format("1x1/b8/k3/q20"), parse_format("4x4/b16/k8/q5@8"),
                                    parse_format("2x2r/b32/k32/q1@16"), parse_format("2x2c/b256/k4/q50@24")};
  return kFormats[number % std::size(kFormats)];
}

void expect_storable(const Coefficients& coefficients) {
  const Coefficients stored = read_value(write_value(coefficients, 1), Limits{});
  require(stored.values == coefficients.values, "what was encoded is written and read the same");
}

}  // namespace

// A file is read to a picture and encoded, or refused; being told to stop in between leaves nothing behind.
void read(Input file) {
  constexpr Fault kDamaged = Fault::bad_picture, kUnknown = Fault::unsupported_picture, kTooLarge = Fault::limit_exceeded;
  Picture picture;
  const bool is_read = attempt({kDamaged, kUnknown, kTooLarge}, [&] { picture = read_picture(file, kLimits, Interrupt{}); });
  if (is_read) expect_whole(picture);

  const Format format = some_format(file.size());
  const Orientation orientation = file.size() % 3 == 0 ? Orientation::upright : Orientation::as_stored;
  Coefficients coefficients;
  const bool is_encoded = attempt({kDamaged, kUnknown, kTooLarge}, [&] {
    coefficients = encode_file(file, format, kLimits, Interrupt{}, orientation);
  });
  if (is_encoded) expect_storable(coefficients);
  require(is_encoded == is_read, "a file that can be read can be encoded, and no other");

  const StopAt stop(file.size() % 8);
  attempt({kDamaged, kUnknown, kTooLarge, Fault::cancelled}, [&] { encode_file(file, format, kLimits, stop, orientation); });
}

}  // namespace imagecalc::fuzz
