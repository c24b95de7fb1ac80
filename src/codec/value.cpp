#include "codec/value.h"

#include <limits>
#include <string>

#include "codec/corrupt.h"
#include "codec/crc32c.h"
#include "codec/prediction.h"
#include "codec/rans.h"
#include "codec/zstd_coder.h"

namespace imagecalc {
namespace {

constexpr std::uint8_t kMagic = 0x1C;
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kChecksumPlace = 20;
constexpr int kThoroughLevel = 4, kZstdLevel = 10;  // from which on more is tried

// ---- bytes

void store(std::uint8_t* at, std::uint32_t value, int size) {
  for (int n = 0; n < size; ++n) at[n] = static_cast<std::uint8_t>(value >> 8 * n);
}

std::uint32_t load(const std::uint8_t* at, int size) {
  std::uint32_t value = 0;
  for (int n = 0; n < size; ++n) value |= static_cast<std::uint32_t>(at[n]) << 8 * n;
  return value;
}

std::uint32_t checksum(Bytes value) { return crc32c(value.subspan(kValueHeaderSize), crc32c(value.first(kChecksumPlace))); }

// ---- header

void check_sizes(const ValueHeader& header, const Limits& limits) {
  if (header.coded_width == 0 || header.coded_height == 0 || header.source_width == 0 || header.source_height == 0) {
    corrupt("its picture has no width or no height");
  }
  constexpr std::uint32_t kMaxSource = std::numeric_limits<std::int32_t>::max();
  if (header.source_width > kMaxSource || header.source_height > kMaxSource) corrupt("its picture is too large");
  const std::int64_t pixels = std::int64_t{header.coded_width} * header.coded_height;
  const std::uint32_t size = static_cast<std::uint32_t>(header.format.size);
  const std::uint32_t width = size > 0 ? size : header.source_width, height = size > 0 ? size : header.source_height;
  if (static_cast<std::uint32_t>(header.coded_width) != width || static_cast<std::uint32_t>(header.coded_height) != height) {
    corrupt("its size is not that of its format");
  }
  if (pixels > limits.max_pixels) {
    throw Error(Fault::limit_exceeded,
                "an image value of " + std::to_string(pixels) + " pixels is larger than the limit of " +
                    std::to_string(limits.max_pixels),
                "Raise imagecalc.max_pixels if such pictures are wanted.");
  }
}

Format read_format(const std::uint8_t* at) {
  const std::uint32_t code = load(at, 4);
  try {
    return unpack(code);
  } catch (const Error&) {
    unknown("format code " + std::to_string(code));
  }
}

std::vector<std::uint8_t> write_header(const Coefficients& coefficients, Coder coder) {
  std::vector<std::uint8_t> value(kValueHeaderSize);
  value[0] = kMagic;
  value[1] = kVersion;
  value[2] = static_cast<std::uint8_t>(coder);
  value[3] = static_cast<std::uint8_t>(coefficients.channels);
  store(&value[4], pack(coefficients.format), 4);
  store(&value[8], static_cast<std::uint32_t>(coefficients.coded_width), 2);
  store(&value[10], static_cast<std::uint32_t>(coefficients.coded_height), 2);
  store(&value[12], coefficients.source_width, 4);
  store(&value[16], coefficients.source_height, 4);
  return value;
}

void check_arguments(const Coefficients& coefficients, int compression_level) {
  if (compression_level < kMinCompressionLevel || compression_level > kMaxCompressionLevel) {
    throw Error(Fault::invalid_argument, "compression level must be between 1 and 19");
  }
  const Limits no_limits{std::numeric_limits<std::int64_t>::max(), 0};
  const ValueHeader header = read_value_header(write_header(coefficients, Coder::rans), no_limits);
  if (static_cast<std::int64_t>(coefficients.values.size()) != header.value_count()) {
    throw Error(Fault::internal, "coefficients do not match their format");
  }
}

rans::Layout layout_of(const Format& format, int channels, const Geometry& geometry) {
  return {channels, format.kept, geometry.blocks_across, geometry.blocks_down};
}

std::vector<std::uint8_t> write_planes(const Coefficients& coefficients, const BytePlanes& planes, int level, Coder coder,
                                       const Interrupt& interrupt) {
  std::vector<std::uint8_t> value = write_header(coefficients, coder);
  if (coder == Coder::zstd) {
    zstd::encode(planes, level, value, interrupt);
  } else {
    const rans::Effort effort = level < kThoroughLevel ? rans::Effort::fast : rans::Effort::thorough;
    const rans::Layout layout = layout_of(coefficients.format, coefficients.channels, coefficients.geometry());
    rans::encode(planes, layout, effort, value, interrupt);
  }
  store(&value[kChecksumPlace], checksum(value), 4);
  return value;
}

}  // namespace

BytePlanes difference_planes(const Coefficients& coefficients) {
  std::vector<std::int32_t> values = coefficients.values;
  const Geometry geometry = coefficients.geometry();
  const std::size_t channel = values.size() / coefficients.channels;
  for (std::size_t begin = 0; begin < values.size(); begin += channel) to_differences(values.data() + begin, geometry);
  return to_planes(values.data(), values.size());
}

std::int64_t ValueHeader::value_count() const { return channels * triangle_size(format.kept) * geometry().blocks(); }

std::vector<std::uint8_t> write_value(const Coefficients& coefficients, int compression_level, Coder coder,
                                      const Interrupt& interrupt) {
  check_arguments(coefficients, compression_level);
  return write_planes(coefficients, difference_planes(coefficients), compression_level, coder, interrupt);
}

std::vector<std::uint8_t> write_value(const Coefficients& coefficients, int compression_level, const Interrupt& interrupt) {
  check_arguments(coefficients, compression_level);
  const BytePlanes planes = difference_planes(coefficients);
  std::vector<std::uint8_t> value = write_planes(coefficients, planes, compression_level, Coder::rans, interrupt);
  if (compression_level >= kZstdLevel && zstd::can_encode(planes)) {
    std::vector<std::uint8_t> other = write_planes(coefficients, planes, compression_level, Coder::zstd, interrupt);
    if (other.size() < value.size()) return other;
  }
  return value;
}

ValueHeader read_value_header(Bytes value, const Limits& limits) {
  if (value.size() < kValueHeaderSize) corrupt("it ends within its header");
  if (value[0] != kMagic) corrupt("it does not begin like one");
  if (value[1] != kVersion) unknown("version " + std::to_string(value[1]));
  if (value[2] >= kCoders.size()) unknown("coder " + std::to_string(value[2]));
  if (value[3] != 1 && value[3] != 3) corrupt("it has " + std::to_string(value[3]) + " channels");
  ValueHeader header;
  header.channels = value[3];
  header.format = read_format(&value[4]);
  header.coded_width = static_cast<int>(load(&value[8], 2));
  header.coded_height = static_cast<int>(load(&value[10], 2));
  header.source_width = load(&value[12], 4);
  header.source_height = load(&value[16], 4);
  check_sizes(header, limits);
  return header;
}

StoredPayload read_payload(Bytes value, const Limits& limits) {
  const ValueHeader header = read_value_header(value, limits);
  if (checksum(value) != load(&value[kChecksumPlace], 4)) corrupt("its checksum is wrong");
  return {header, static_cast<Coder>(value[2]), value.subspan(kValueHeaderSize)};
}

StoredImage read_image(Bytes value, const Limits& limits, const Interrupt& interrupt) {
  const auto [header, coder, payload] = read_payload(value, limits);
  const Geometry geometry = header.geometry();
  StoredImage image{header, coder == Coder::zstd
                                ? zstd::decode(payload, static_cast<std::size_t>(header.value_count()), interrupt)
                                : rans::decode(payload, layout_of(header.format, header.channels, geometry), interrupt)};
  from_differences(image.planes, header.channels, geometry);
  return image;
}

Coefficients read_value(Bytes value, const Limits& limits, const Interrupt& interrupt) {
  const StoredImage image = read_image(value, limits, interrupt);
  const ValueHeader& header = image.header;
  Coefficients result{header.format,
                      header.channels,
                      header.coded_width,
                      header.coded_height,
                      header.source_width,
                      header.source_height,
                      {}};
  result.values.resize(image.planes.size());
  to_values(image.planes, result.values.data());
  return result;
}

}  // namespace imagecalc
