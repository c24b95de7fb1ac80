#define ZSTD_STATIC_LINKING_ONLY  // for frames without magic

#include "codec/zstd_coder.h"

#include <zstd.h>

#include <algorithm>
#include <new>
#include <string>

#include "codec/corrupt.h"

namespace imagecalc::zstd {
namespace {

constexpr std::size_t kLargeSize = sizeof(std::int32_t);
// Bytes between two looks at the interrupt; 4 bytes of a frame can hold 128 kB.
constexpr std::size_t kPiece = 1 << 20, kCompressedPiece = 1 << 12;

std::size_t most_large(std::size_t size) { return size / 16 + 16; }

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
  require(ZSTD_CCtx_reset(context.get(), ZSTD_reset_session_and_parameters));
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
std::size_t decompress(Bytes payload, std::uint8_t* out, std::size_t capacity, const Interrupt& interrupt) {
  ZSTD_DCtx* context = decompressor();
  ZSTD_inBuffer input{payload.data(), 0, 0};
  ZSTD_outBuffer output{out, capacity, 0};
  std::size_t left = 1;
  while (left != 0) {
    interrupt.check();
    if (input.pos == payload.size()) corrupt("its payload is incomplete");
    input.size = std::min(payload.size(), input.size + kCompressedPiece);
    left = ZSTD_decompressStream(context, &output, &input);
    if (ZSTD_isError(left)) corrupt(std::string("its payload does not decompress: ") + ZSTD_getErrorName(left));
    if (left != 0 && input.pos != input.size) corrupt("its payload holds too much");
  }
  if (input.pos != payload.size()) corrupt("there are bytes after its payload");
  return output.pos;
}

// A block of a zstd frame takes at least 4 bytes and holds at most 128 kB.
void check_plausible(std::size_t payload_size, std::size_t size) {
  constexpr std::size_t kBlockBytes = 4;
  if (size > payload_size / kBlockBytes * ZSTD_BLOCKSIZE_MAX) corrupt("its payload is too short for its picture");
}

std::int32_t load_value(const std::uint8_t* at) {
  return static_cast<std::int32_t>(at[0] | at[1] << 8 | at[2] << 16 | std::uint32_t{at[3]} << 24);
}

// bytes: the large values, one for each kLarge in the planes.
void read_large(Bytes bytes, BytePlanes& planes) {
  const std::uint8_t* begin = planes.bytes();
  const auto count = static_cast<std::size_t>(std::count(begin, begin + planes.size(), BytePlanes::kLarge));
  if (bytes.size() != kLargeSize * count) corrupt("its large coefficients do not match");
  planes.large.reserve(count);
  std::size_t place = 0;
  for (; !bytes.empty(); bytes = bytes.subspan(kLargeSize), ++place) {
    while (begin[place] != BytePlanes::kLarge) ++place;
    planes.large.push_back({place, load_value(bytes.data())});
    if (to_zigzag(planes.large.back().value) < BytePlanes::kLarge) corrupt("a small coefficient is stored as a large one");
  }
}

}  // namespace

bool can_encode(const BytePlanes& planes) { return planes.large.size() <= most_large(planes.size()); }

void encode(const BytePlanes& planes, int level, std::vector<std::uint8_t>& out, const Interrupt& interrupt) {
  if (!can_encode(planes)) throw Error(Fault::invalid_argument, "too many coefficients are large for this coder");
  std::vector<std::uint8_t> bytes(planes.bytes(), planes.bytes() + planes.size());
  for (const BytePlanes::Large& large : planes.large) {
    for (int n = 0; n < 4; ++n) bytes.push_back(static_cast<std::uint8_t>(static_cast<std::uint32_t>(large.value) >> 8 * n));
  }
  const std::size_t begin = out.size();
  out.resize(begin + ZSTD_compressBound(bytes.size()));
  ZSTD_CCtx* context = compressor(level);
  require(ZSTD_CCtx_setPledgedSrcSize(context, bytes.size()));
  ZSTD_outBuffer output{out.data() + begin, out.size() - begin, 0};
  ZSTD_inBuffer input{bytes.data(), 0, 0};
  std::size_t left = 1;
  while (left != 0) {
    interrupt.check();
    input.size = std::min(bytes.size(), input.size + kPiece);
    const ZSTD_EndDirective step = input.size == bytes.size() ? ZSTD_e_end : ZSTD_e_continue;
    left = ZSTD_compressStream2(context, &output, &input, step);
    if (ZSTD_isError(left)) throw Error(Fault::internal, std::string("zstd failed: ") + ZSTD_getErrorName(left));
    if (step == ZSTD_e_continue) left = 1;
  }
  out.resize(begin + output.pos);
}

BytePlanes decode(Bytes payload, std::size_t size, const Interrupt& interrupt) {
  check_plausible(payload.size(), size);
  const std::size_t capacity = size + most_large(size) * kLargeSize;
  const auto bytes = std::make_unique_for_overwrite<std::uint8_t[]>(capacity);
  const std::size_t used = decompress(payload, bytes.get(), capacity, interrupt);
  if (used < size) corrupt("its payload is too short");
  BytePlanes planes(size);
  std::copy_n(bytes.get(), size, planes.bytes());
  read_large(Bytes(bytes.get() + size, used - size), planes);
  return planes;
}

}  // namespace imagecalc::zstd
