#include "seed_pictures.h"

#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include <spng.h>
#include <webp/encode.h>

#include "../unit/jpeg_files.h"

namespace imagecalc::fuzz {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr int kWidth = 19, kHeight = 13;

// Orientation 6, the shortest EXIF there is.
const Bytes kExif = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 18, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0};

// ---- JPEG

struct JpegKind {
  const char* name;
  J_COLOR_SPACE stored;
  int across, down;  // how much finer luma is sampled
  bool progressive, arithmetic;
  int restart_rows;
  bool exif;
  int width = kWidth, height = kHeight;
};

constexpr JpegKind kJpegKinds[] = {
    {"444", JCS_YCbCr, 1, 1, false, false, 0, false},
    {"420-exif", JCS_YCbCr, 2, 2, false, false, 0, true},
    {"422", JCS_YCbCr, 2, 1, false, false, 0, false},
    {"440", JCS_YCbCr, 1, 2, false, false, 0, false},
    {"411", JCS_YCbCr, 4, 1, false, false, 0, false},
    {"410-restart", JCS_YCbCr, 4, 2, false, false, 1, false},
    {"gray", JCS_GRAYSCALE, 1, 1, false, false, 1, false},
    {"rgb", JCS_RGB, 1, 1, false, false, 0, false},
    {"cmyk", JCS_CMYK, 1, 1, false, false, 0, false},
    {"ycck", JCS_YCCK, 2, 2, false, false, 0, false},
    {"progressive", JCS_YCbCr, 2, 2, true, false, 0, false},
    {"progressive-restart", JCS_GRAYSCALE, 1, 1, true, false, 1, false},
    // Of these, stored coefficients are made without pixels.
    {"large", JCS_YCbCr, 2, 2, false, false, 0, false, 96, 64},
    {"large-422-restart", JCS_YCbCr, 2, 1, false, false, 2, false, 67, 65},
    {"large-gray", JCS_GRAYSCALE, 1, 1, true, false, 0, false, 72, 72},
    {"arithmetic", JCS_YCbCr, 2, 1, false, true, 0, false},
    {"arithmetic-progressive", JCS_YCbCr, 1, 1, true, true, 0, false},
};

int input_channels(J_COLOR_SPACE stored) {
  if (stored == JCS_GRAYSCALE) return 1;
  return stored == JCS_CMYK || stored == JCS_YCCK ? 4 : 3;
}

void set_parameters(jpeg_compress_struct& info, const JpegKind& kind) {
  jpeg_set_colorspace(&info, kind.stored);
  jpeg_set_quality(&info, 60, TRUE);
  info.comp_info[0].h_samp_factor = kind.across;
  info.comp_info[0].v_samp_factor = kind.down;
  info.optimize_coding = kind.arithmetic ? FALSE : TRUE;
  info.arith_code = kind.arithmetic ? TRUE : FALSE;
  info.restart_in_rows = kind.restart_rows;
  if (kind.progressive) jpeg_simple_progression(&info);
}

// The marker segment that holds EXIF comes right behind the file's first marker.
void insert_exif(Bytes& jpeg) {
  Bytes segment = {0xFF, 0xE1, 0, 0, 'E', 'x', 'i', 'f', 0, 0};
  segment.insert(segment.end(), kExif.begin(), kExif.end());
  segment[3] = static_cast<std::uint8_t>(segment.size() - 2);
  jpeg.insert(jpeg.begin() + 2, segment.begin(), segment.end());
}

Bytes write(const JpegKind& kind) {
  const int channels = input_channels(kind.stored);
  const J_COLOR_SPACE given = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  Bytes file = test::compress(drawn(kind.width, kind.height, channels), given,
                              [&](j_compress_ptr info) { set_parameters(*info, kind); });
  if (kind.exif) insert_exif(file);
  return file;
}

// ---- PNG

struct PngKind {
  const char* name;
  spng_color_type color;
  int depth, channels;
  bool interlaced, transparent_color, exif;
};

constexpr PngKind kPngKinds[] = {
    {"gray-1", SPNG_COLOR_TYPE_GRAYSCALE, 1, 1, false, false, false},
    {"gray-2-interlaced", SPNG_COLOR_TYPE_GRAYSCALE, 2, 1, true, false, false},
    {"gray-8-transparent", SPNG_COLOR_TYPE_GRAYSCALE, 8, 1, false, true, false},
    {"gray-16", SPNG_COLOR_TYPE_GRAYSCALE, 16, 1, false, false, false},
    {"gray-alpha-8", SPNG_COLOR_TYPE_GRAYSCALE_ALPHA, 8, 2, false, false, false},
    {"gray-alpha-16-interlaced", SPNG_COLOR_TYPE_GRAYSCALE_ALPHA, 16, 2, true, false, false},
    {"palette-4", SPNG_COLOR_TYPE_INDEXED, 4, 1, false, false, false},
    {"palette-8-transparent", SPNG_COLOR_TYPE_INDEXED, 8, 1, false, true, false},
    {"rgb-8-exif", SPNG_COLOR_TYPE_TRUECOLOR, 8, 3, false, false, true},
    {"rgb-8-transparent", SPNG_COLOR_TYPE_TRUECOLOR, 8, 3, false, true, false},
    {"rgb-16-interlaced", SPNG_COLOR_TYPE_TRUECOLOR, 16, 3, true, false, false},
    {"rgba-8-interlaced", SPNG_COLOR_TYPE_TRUECOLOR_ALPHA, 8, 4, true, false, false},
    {"rgba-16", SPNG_COLOR_TYPE_TRUECOLOR_ALPHA, 16, 4, false, false, false},
};

void require(int result) {
  if (result != 0) throw std::runtime_error(spng_strerror(result));
}

void set_chunks(spng_ctx* context, const PngKind& kind) {
  spng_ihdr header{kWidth, kHeight, static_cast<std::uint8_t>(kind.depth), static_cast<std::uint8_t>(kind.color), 0, 0,
                   static_cast<std::uint8_t>(kind.interlaced ? SPNG_INTERLACE_ADAM7 : SPNG_INTERLACE_NONE)};
  require(spng_set_ihdr(context, &header));
  if (kind.color == SPNG_COLOR_TYPE_INDEXED) {
    spng_plte palette{};
    palette.n_entries = 1u << kind.depth;
    for (std::uint32_t n = 0; n < palette.n_entries; ++n) {
      palette.entries[n] = {static_cast<std::uint8_t>(9 * n), static_cast<std::uint8_t>(n), 7, 255};
    }
    require(spng_set_plte(context, &palette));
  }
  if (kind.transparent_color) {
    spng_trns transparent{.gray = 3, .red = 1, .green = 2, .blue = 3, .n_type3_entries = 2, .type3_alpha = {0, 128}};
    require(spng_set_trns(context, &transparent));
  }
  if (kind.exif) {
    // libspng keeps the pointer and only reads from it.
    spng_exif exif{kExif.size(), reinterpret_cast<char*>(const_cast<std::uint8_t*>(kExif.data()))};
    require(spng_set_exif(context, &exif));
  }
}

// Rows as PNG has them before filtering; below 8 bits, any bits make a picture.
Bytes rows_of(const PngKind& kind) {
  const std::size_t row_size = (std::size_t(kWidth) * kind.channels * kind.depth + 7) / 8;
  const Picture picture = drawn(static_cast<int>(row_size), kHeight, 1);
  return picture.samples;
}

Bytes write(const PngKind& kind) {
  spng_ctx* context = spng_ctx_new(SPNG_CTX_ENCODER);
  require(spng_set_option(context, SPNG_ENCODE_TO_BUFFER, 1));
  set_chunks(context, kind);
  const Bytes rows = rows_of(kind);
  require(spng_encode_image(context, rows.data(), rows.size(), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE));
  std::size_t size = 0;
  int result = 0;
  void* written = spng_get_png_buffer(context, &size, &result);
  require(result);
  Bytes file(static_cast<std::uint8_t*>(written), static_cast<std::uint8_t*>(written) + size);
  std::free(written);
  spng_ctx_free(context);
  return file;
}

// ---- WebP

struct WebpKind {
  const char* name;
  int channels;
  bool lossless;
};

constexpr WebpKind kWebpKinds[] = {
    {"lossy", 3, false}, {"lossy-alpha", 4, false}, {"lossless", 3, true}, {"lossless-alpha", 4, true}};

Bytes write(const WebpKind& kind) {
  const Picture picture = drawn(kWidth, kHeight, kind.channels);
  const std::uint8_t* samples = picture.samples.data();
  const int stride = kWidth * kind.channels;
  std::uint8_t* written = nullptr;
  std::size_t size = 0;
  if (kind.channels == 3) {
    size = kind.lossless ? WebPEncodeLosslessRGB(samples, kWidth, kHeight, stride, &written)
                         : WebPEncodeRGB(samples, kWidth, kHeight, stride, 50, &written);
  } else {
    size = kind.lossless ? WebPEncodeLosslessRGBA(samples, kWidth, kHeight, stride, &written)
                         : WebPEncodeRGBA(samples, kWidth, kHeight, stride, 50, &written);
  }
  if (size == 0) throw std::runtime_error("libwebp failed");
  Bytes file(written, written + size);
  WebPFree(written);
  return file;
}

void append(Bytes& to, const Bytes& more) { to.insert(to.end(), more.begin(), more.end()); }

Bytes little_endian(std::size_t value, int size) {
  Bytes bytes;
  for (int n = 0; n < size; ++n) bytes.push_back(static_cast<std::uint8_t>(value >> 8 * n));
  return bytes;
}

Bytes chunk(std::string_view name, const Bytes& content) {
  Bytes bytes(name.begin(), name.end());
  append(bytes, little_endian(content.size(), 4));
  append(bytes, content);
  if (content.size() % 2 != 0) bytes.push_back(0);
  return bytes;
}

// The extended file format: what it has beside the picture, the canvas, and its chunks.
Bytes extended_webp(std::uint8_t flags, const std::vector<Bytes>& chunks) {
  Bytes content = {'W', 'E', 'B', 'P'}, header = {flags, 0, 0, 0};
  append(header, little_endian(kWidth - 1, 3));
  append(header, little_endian(kHeight - 1, 3));
  append(content, chunk("VP8X", header));
  for (const Bytes& bytes : chunks) append(content, bytes);
  return chunk("RIFF", content);
}

// The picture's chunk of a simple file.
Bytes picture_chunk(const Bytes& file) { return {file.begin() + 12, file.end()}; }

Bytes webp_with_exif() { return extended_webp(0x08, {picture_chunk(write(kWebpKinds[0])), chunk("EXIF", kExif)}); }

Bytes animated_webp() {
  Bytes frame(6);
  append(frame, little_endian(kWidth - 1, 3));
  append(frame, little_endian(kHeight - 1, 3));
  append(frame, {100, 0, 0, 0});
  append(frame, picture_chunk(write(kWebpKinds[2])));
  return extended_webp(0x02, {chunk("ANIM", Bytes(6)), chunk("ANMF", frame), chunk("ANMF", frame)});
}

template <typename Kinds>
std::vector<Seed> write_all(const Kinds& kinds) {
  std::vector<Seed> seeds;
  for (const auto& kind : kinds) seeds.push_back({kind.name, write(kind)});
  return seeds;
}

}  // namespace

Picture drawn(int width, int height, int channels) {
  Picture picture{width, height, channels, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        picture.samples.push_back(static_cast<std::uint8_t>(11 * x + 5 * y * (c + 1) + (x > y ? 60 : 0)));
      }
    }
  }
  return picture;
}

std::vector<Seed> jpeg_seeds() { return write_all(kJpegKinds); }
std::vector<Seed> png_seeds() { return write_all(kPngKinds); }

std::vector<Seed> webp_seeds() {
  std::vector<Seed> seeds = write_all(kWebpKinds);
  seeds.push_back({"lossy-exif", webp_with_exif()});
  seeds.push_back({"animated", animated_webp()});
  return seeds;
}

}  // namespace imagecalc::fuzz
