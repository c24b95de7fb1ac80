#define ZSTD_STATIC_LINKING_ONLY  // for frames without magic

#include "codec/value.h"

#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <new>

#include "codec/crc32c.h"

namespace imagecalc {
namespace {

constexpr std::uint8_t kMagic = 0x1C;
constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kZstdCoder = 0;
constexpr std::uint8_t kEscape = 255;
constexpr int kMinLevel = 1, kMaxLevel = 19;
constexpr std::size_t kEscapeSize = sizeof(std::int32_t);

[[noreturn]] void corrupt(const std::string& what) {
  throw Error(Fault::corrupt_value, "corrupt image value: " + what, "Write the value again from its picture.");
}

// ---- bytes

void store(std::uint8_t* at, std::uint32_t value, int size) {
  for (int n = 0; n < size; ++n) at[n] = static_cast<std::uint8_t>(value >> 8 * n);
}

std::uint32_t load(const std::uint8_t* at, int size) {
  std::uint32_t value = 0;
  for (int n = 0; n < size; ++n) value |= static_cast<std::uint32_t>(at[n]) << 8 * n;
  return value;
}

std::uint32_t to_zigzag(std::int32_t value) {
  return static_cast<std::uint32_t>(value) << 1 ^ static_cast<std::uint32_t>(value >> 31);
}

std::int32_t from_zigzag(std::uint32_t zigzag) { return static_cast<std::int32_t>(zigzag >> 1 ^ (0u - (zigzag & 1))); }

// Differences wrap around, so that every int32 has one and comes back.
std::int32_t difference(std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) - static_cast<std::uint32_t>(b));
}
std::int32_t sum(std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
}

// ---- prediction of the plane of frequency (0,0)

std::int32_t median_edge(std::int32_t west, std::int32_t north, std::int32_t north_west) {
  const auto [low, high] = std::minmax(west, north);
  if (north_west >= high) return low;
  if (north_west <= low) return high;
  return difference(sum(west, north), north_west);
}

// plane: blocks of which those before (down, across) in raster order are known.
std::int32_t predict(const std::int32_t* plane, int blocks_across, int down, int across) {
  const std::int32_t* here = plane + std::size_t(down) * blocks_across + across;
  if (down == 0) return across == 0 ? 0 : here[-1];
  if (across == 0) return here[-blocks_across];
  return median_edge(here[-1], here[-blocks_across], here[-blocks_across - 1]);
}

// Backwards, since every prediction needs what comes before it as it was.
void to_differences(std::int32_t* plane, const Geometry& geometry) {
  for (int down = geometry.blocks_down - 1; down >= 0; --down) {
    for (int across = geometry.blocks_across - 1; across >= 0; --across) {
      std::int32_t& value = plane[std::size_t(down) * geometry.blocks_across + across];
      value = difference(value, predict(plane, geometry.blocks_across, down, across));
    }
  }
}

void from_differences(std::int32_t* plane, const Geometry& geometry) {
  for (int down = 0; down < geometry.blocks_down; ++down) {
    for (int across = 0; across < geometry.blocks_across; ++across) {
      std::int32_t& value = plane[std::size_t(down) * geometry.blocks_across + across];
      value = sum(value, predict(plane, geometry.blocks_across, down, across));
    }
  }
}

// ---- byte plane and escaped values

// The place of the next escape in [from, end), or end.
const std::uint8_t* find_escape(const std::uint8_t* from, const std::uint8_t* end) {
  const void* found = from == end ? nullptr : std::memchr(from, kEscape, static_cast<std::size_t>(end - from));
  return found ? static_cast<const std::uint8_t*>(found) : end;
}

std::vector<std::uint8_t> to_bytes(const Coefficients& coefficients) {
  const Geometry geometry = coefficients.geometry();
  std::vector<std::int32_t> values = coefficients.values;
  const std::size_t count = values.size(), channel = count / coefficients.channels;
  for (std::size_t begin = 0; begin < count; begin += channel) to_differences(values.data() + begin, geometry);

  std::vector<std::uint8_t> bytes(count);
  for (std::size_t n = 0; n < count; ++n) {
    bytes[n] = static_cast<std::uint8_t>(std::min<std::uint32_t>(to_zigzag(values[n]), kEscape));
  }
  bytes.resize(count + kEscapeSize * static_cast<std::size_t>(std::count(bytes.begin(), bytes.end(), kEscape)));
  const std::uint8_t *plane = bytes.data(), *end = plane + count;
  const std::uint8_t* at = plane;
  for (std::size_t next = count; next < bytes.size(); next += kEscapeSize, ++at) {
    at = find_escape(at, end);
    store(&bytes[next], static_cast<std::uint32_t>(values[static_cast<std::size_t>(at - plane)]), kEscapeSize);
  }
  return bytes;
}

// escaped: one value for every 255 in the byte plane.
void from_bytes(Bytes plane, Bytes escaped, std::int32_t* values) {
  for (std::size_t n = 0; n < plane.size(); ++n) values[n] = from_zigzag(plane[n]);
  const std::uint8_t *at = plane.data(), *end = at + plane.size();
  for (; !escaped.empty(); escaped = escaped.subspan(kEscapeSize), ++at) {
    at = find_escape(at, end);
    const std::int32_t value = static_cast<std::int32_t>(load(escaped.data(), kEscapeSize));
    if (to_zigzag(value) < kEscape) corrupt("a small coefficient is escaped");
    values[at - plane.data()] = value;
  }
}

// ---- zstd

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

void require(std::size_t result) {
  if (ZSTD_isError(result)) throw Error(Fault::internal, std::string("could not set up zstd: ") + ZSTD_getErrorName(result));
}

// Making a context costs more than using it on a small value: each thread keeps one.
ZSTD_CCtx* compressor(int level) {
  thread_local std::unique_ptr<ZSTD_CCtx, FreeContext> context(ZSTD_createCCtx());
  if (!context) throw std::bad_alloc();
  require(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, level));
  require(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_format, ZSTD_f_zstd1_magicless));
  require(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, 0));
  require(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 0));
  require(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_dictIDFlag, 0));
  return context.get();
}

ZSTD_DCtx* decompressor() {
  thread_local std::unique_ptr<ZSTD_DCtx, FreeContext> context(ZSTD_createDCtx());
  if (!context) throw std::bad_alloc();
  require(ZSTD_DCtx_reset(context.get(), ZSTD_reset_session_and_parameters));
  require(ZSTD_DCtx_setParameter(context.get(), ZSTD_d_format, ZSTD_f_zstd1_magicless));
  require(ZSTD_DCtx_setParameter(context.get(), ZSTD_d_stableOutBuffer, 1));
  return context.get();
}

// Decompresses exactly one frame that fills the payload; returns how many bytes it held. The streaming call is used because
// it tells where the frame ended; with a stable buffer it copies nothing.
std::size_t decompress(Bytes payload, std::uint8_t* out, std::size_t capacity) {
  ZSTD_inBuffer input{payload.data(), payload.size(), 0};
  ZSTD_outBuffer output{out, capacity, 0};
  const std::size_t left = ZSTD_decompressStream(decompressor(), &output, &input);
  if (ZSTD_isError(left)) corrupt(std::string("its payload does not decompress: ") + ZSTD_getErrorName(left));
  if (left != 0) corrupt("its payload is incomplete");
  if (input.pos != input.size) corrupt("there are bytes after its payload");
  return output.pos;
}

// A block of a zstd frame takes at least 4 bytes and holds at most 128 kB: checked before memory is asked for.
void check_plausible(std::size_t payload_size, std::int64_t value_count) {
  constexpr std::int64_t kBlockBytes = 4;
  const std::int64_t blocks = static_cast<std::int64_t>(payload_size) / kBlockBytes;
  if (value_count > blocks * ZSTD_BLOCKSIZE_MAX) corrupt("its payload is too short for its picture");
}

// ---- header

void check_sizes(const ValueHeader& header, const Limits& limits) {
  if (header.coded_width == 0 || header.coded_height == 0 || header.source_width == 0 || header.source_height == 0) {
    corrupt("its picture has no width or no height");
  }
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
  try {
    return unpack(load(at, 4));
  } catch (const Error& error) {
    corrupt(error.what());
  }
}

std::vector<std::uint8_t> write_header(const Coefficients& coefficients) {
  std::vector<std::uint8_t> value(kValueHeaderSize);
  value[0] = kMagic;
  value[1] = kVersion;
  value[2] = kZstdCoder;
  value[3] = static_cast<std::uint8_t>(coefficients.channels);
  store(&value[4], pack(coefficients.format), 4);
  store(&value[8], static_cast<std::uint32_t>(coefficients.coded_width), 2);
  store(&value[10], static_cast<std::uint32_t>(coefficients.coded_height), 2);
  store(&value[12], coefficients.source_width, 4);
  store(&value[16], coefficients.source_height, 4);
  return value;
}

}  // namespace

std::int64_t ValueHeader::value_count() const {
  return channels * triangle_size(format.kept) * geometry(format, coded_width, coded_height).blocks();
}

std::vector<std::uint8_t> write_value(const Coefficients& coefficients, int compression_level) {
  if (compression_level < kMinLevel || compression_level > kMaxLevel) {
    throw Error(Fault::invalid_argument, "compression level must be between 1 and 19");
  }
  std::vector<std::uint8_t> value = write_header(coefficients);
  const ValueHeader header = read_value_header(value, Limits{std::numeric_limits<std::int64_t>::max(), 0});
  if (static_cast<std::int64_t>(coefficients.values.size()) != header.value_count()) {
    throw Error(Fault::internal, "coefficients do not match their format");
  }
  const std::vector<std::uint8_t> bytes = to_bytes(coefficients);
  value.resize(kValueHeaderSize + ZSTD_compressBound(bytes.size()));
  std::uint8_t* payload = value.data() + kValueHeaderSize;
  const std::size_t size = ZSTD_compress2(compressor(compression_level), payload, value.size() - kValueHeaderSize,
                                          bytes.data(), bytes.size());
  if (ZSTD_isError(size)) throw Error(Fault::internal, std::string("zstd failed: ") + ZSTD_getErrorName(size));
  value.resize(kValueHeaderSize + size);
  store(&value[20], crc32c(Bytes(value).subspan(kValueHeaderSize)), 4);
  return value;
}

ValueHeader read_value_header(Bytes value, const Limits& limits) {
  if (value.size() < kValueHeaderSize) corrupt("it ends within its header");
  if (value[0] != kMagic) corrupt("it does not begin like one");
  if (value[1] != kVersion) corrupt("its version " + std::to_string(value[1]) + " is unknown");
  if (value[2] != kZstdCoder) corrupt("its coder " + std::to_string(value[2]) + " is unknown");
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

Coefficients read_value(Bytes value, const Limits& limits) {
  const ValueHeader header = read_value_header(value, limits);
  const Bytes payload = value.subspan(kValueHeaderSize);
  if (crc32c(payload) != load(&value[20], 4)) corrupt("its checksum is wrong");
  check_plausible(payload.size(), header.value_count());

  Coefficients result{header.format,       header.channels,     header.coded_width, header.coded_height,
                      header.source_width, header.source_height, {}};
  const std::size_t count = static_cast<std::size_t>(header.value_count());
  const std::size_t capacity = count + count * kEscapeSize;
  const auto bytes = std::make_unique_for_overwrite<std::uint8_t[]>(capacity);
  const std::size_t size = decompress(payload, bytes.get(), capacity);
  if (size < count) corrupt("its payload is too short");
  const Bytes plane(bytes.get(), count), escaped(bytes.get() + count, size - count);
  if (escaped.size() != kEscapeSize * static_cast<std::size_t>(std::count(plane.begin(), plane.end(), kEscape))) {
    corrupt("its escaped coefficients do not match");
  }
  result.values.resize(count);
  from_bytes(plane, escaped, result.values.data());
  const Geometry geometry = result.geometry();
  for (std::size_t begin = 0; begin < count; begin += count / header.channels) {
    from_differences(result.values.data() + begin, geometry);
  }
  return result;
}

}  // namespace imagecalc
