// Stored values: header, coefficients, tensors, and the picture that they describe.
#include <vector>

#include "codec/tensor.h"
#include "codec/value.h"
#include "fuzz.h"
#include "../unit/seal.h"

namespace imagecalc::fuzz {
namespace {

constexpr Limits kLimits{.max_pixels = 1 << 16};
constexpr std::int64_t kMaxTensor = 1 << 18, kMaxRebuilt = 1 << 12;

// Reading and writing are each other's inverse.
void expect_round_trip(const Coefficients& read) {
  const Coefficients again = read_value(write_value(read, 1), kLimits);
  require(again.values == read.values && again.format == read.format, "what was read is written and read the same");
}

// From bytes as from coefficients.
void expect_tensor(Bytes value, const Coefficients& read) {
  const std::int64_t area = read.geometry().tensor_area();
  if (area > kMaxTensor) return;
  const auto size = static_cast<std::size_t>(3 * area);
  const Normalisation normalisation{{1, 2, 3}, {4, 5, 6}};
  std::vector<float> tensor(size), wanted(size);
  read_batch({&value, 1}, kLimits, normalisation, tensor.data());
  place_normalised(read, normalisation, wanted.data());
  require(tensor == wanted, "both ways to a tensor give the same");

  const StoredImage image = read_image(value, kLimits);
  std::vector<std::int8_t> narrow(size);
  place_scaled(image, {1, 20, 300}, narrow.data());
  std::vector<std::int16_t> wide(size);
  place_scaled(image, {1, 20, 300}, wide.data());
}

void expect_picture(const Coefficients& read) {
  const std::int64_t pixels = std::int64_t{read.coded_width} * read.coded_height;
  const std::int64_t padded = read.geometry().blocks() * read.format.block * read.format.block;
  if (pixels > kMaxRebuilt || padded > 16 * kMaxRebuilt) return;
  const Picture picture = rebuild(read, Interrupt{});
  require(picture.width == read.coded_width && picture.height == read.coded_height, "the picture has the coded size");
  require(picture.samples.size() == static_cast<std::size_t>(pixels * picture.channels), "it has all samples");
}

}  // namespace

void read(Input value) {
  ValueHeader header;
  const bool header_is_good =
      attempt({Fault::corrupt_value, Fault::limit_exceeded}, [&] { header = read_value_header(value, kLimits); });
  Coefficients read;
  if (!attempt({Fault::corrupt_value, Fault::limit_exceeded}, [&] { read = read_value(value, kLimits); })) return;
  require(header_is_good, "a value that can be read has a header that can");
  require(header.value_count() == static_cast<std::int64_t>(read.values.size()), "the header tells how many values follow");
  expect_round_trip(read);
  expect_tensor(value, read);
  expect_picture(read);
}

// The checksum.
void seal(std::span<std::uint8_t> value) { test::seal(value); }

}  // namespace imagecalc::fuzz
