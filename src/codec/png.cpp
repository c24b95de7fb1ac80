// PNG files. libspng inflates and unfilters; what the samples mean (palette, depth, transparency, interlacing) is worked out
// here, row by row, so that no more than the finished picture and one row are in memory.
#include <spng.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>

#include "codec/readers.h"

namespace imagecalc {
namespace {

constexpr std::size_t kSignatureSize = 8, kChunkFrame = 12;  // length, type and checksum around a chunk's data
constexpr std::uint32_t kMaxEdge = 1'000'000;                // as libpng and browsers have it

struct ContextDeleter {
  void operator()(spng_ctx* context) const { spng_ctx_free(context); }
};
using Context = std::unique_ptr<spng_ctx, ContextDeleter>;

Context make_context(int flags) {
  Context context(spng_ctx_new(flags));
  if (!context) throw std::bad_alloc();
  return context;
}

Fault fault_of(int code) {
  switch (code) {
    case SPNG_EMEM:
      return Fault::out_of_memory;
    case SPNG_EUSER_WIDTH:
    case SPNG_EUSER_HEIGHT:
      return Fault::limit_exceeded;
    case SPNG_ECHUNK_UNKNOWN_CRITICAL:
      return Fault::unsupported_picture;
    default:
      return Fault::bad_picture;
  }
}

[[noreturn]] void raise(int code, const char* action) {
  const Fault fault = fault_of(code);
  const char* hint = "";
  if (fault == Fault::bad_picture) hint = kDamagedHint;
  if (fault == Fault::limit_exceeded) hint = "Use a smaller picture.";
  if (fault == Fault::unsupported_picture) hint = "Save the picture as a standard PNG file.";
  throw Error(fault, std::string(action) + ": " + spng_strerror(code), hint);
}

void check_read(int code) {
  if (code != 0) raise(code, "could not decode the PNG picture");
}

void check_write(int code) {
  if (code != 0) raise(code, "could not write the PNG picture");
}

// Of the chunks that may be left out only transparency says how a pixel looks; the others (texts, profiles, an animation's
// later frames) are a means to fill memory.
bool shapes_the_picture(Bytes type) {
  constexpr std::uint8_t kTransparency[] = {'t', 'R', 'N', 'S'};
  const bool critical = (type[0] & 0x20) == 0;
  return critical || std::equal(type.begin(), type.end(), kTransparency);
}

// The file as libspng is shown it. Its end tells libspng that it is cut short; not by a chunk whose length is a lie, for
// which libspng would ask memory first.
std::vector<std::uint8_t> without_extras(Bytes file) {
  std::vector<std::uint8_t> kept(file.begin(), file.begin() + kSignatureSize);
  for (Bytes rest = file.subspan(kSignatureSize); !rest.empty();) {
    const bool whole = rest.size() >= kChunkFrame && read_be32(rest, 0) <= rest.size() - kChunkFrame;
    const Bytes chunk = whole ? rest.first(kChunkFrame + read_be32(rest, 0)) : rest;
    const bool shown = chunk.size() < kChunkFrame || shapes_the_picture(chunk.subspan(4, 4));
    if (shown) kept.insert(kept.end(), chunk.begin(), chunk.end());
    rest = rest.subspan(chunk.size());
  }
  return kept;
}

// ---- what the header says

int samples_a_pixel(const spng_ihdr& header) {
  switch (header.color_type) {
    case SPNG_COLOR_TYPE_GRAYSCALE_ALPHA:
      return 2;
    case SPNG_COLOR_TYPE_TRUECOLOR:
      return 3;
    case SPNG_COLOR_TYPE_TRUECOLOR_ALPHA:
      return 4;
    default:  // gray, or a place in the palette
      return 1;
  }
}

std::int64_t row_bytes(const spng_ihdr& header) {
  return (std::int64_t{header.width} * samples_a_pixel(header) * header.bit_depth + 7) / 8;
}

void check_size(const spng_ihdr& header, std::size_t file_size, const Limits& limits) {
  if (std::int64_t{header.width} * header.height > limits.max_pixels)
    throw Error(Fault::limit_exceeded, "the PNG picture has more pixels than the limit allows", kTooLargeHint);
  constexpr std::int64_t kMostInflated = 1032;  // bytes that deflate can make of one
  if ((row_bytes(header) + 1) * header.height / kMostInflated > static_cast<std::int64_t>(file_size))
    throw Error(Fault::bad_picture, "the PNG file is too short for its picture", kDamagedHint);
}

// ---- from PNG's samples to ours

using Color = std::array<std::uint8_t, 3>;

// Turns rows of PNG samples into rows of a Picture.
class RowConverter {
 public:
  RowConverter(spng_ctx* context, const spng_ihdr& header)
      : header_(header), samples_(samples_a_pixel(header)), largest_((1 << header.bit_depth) - 1) {
    const int code = spng_get_trns(context, &transparency_);
    if (code != SPNG_ECHUNKAVAIL) check_read(code);
    has_key_ = code == 0;
    if (is_palette()) read_palette(context);
    key_ = {transparency_.gray, 0, 0};
    if (samples_ == 3) key_ = {transparency_.red, transparency_.green, transparency_.blue};
    for (int& sample : key_) sample &= largest_;
  }

  int channels() const { return is_palette() || samples_ >= 3 ? 3 : 1; }

  // in: a row as it is in the file, 16-bit samples in the machine's order. step: of out, in samples from pixel to pixel.
  void convert(const std::uint8_t* in, int width, std::uint8_t* out, std::size_t step) const {
    if (header_.bit_depth == 8 && !is_palette() && !has_alpha() && step == std::size_t(samples_)) {
      std::copy(in, in + std::size_t(width) * samples_, out);
      return;
    }
    for (int x = 0; x < width; ++x, out += step) {
      if (is_palette()) {
        put(color_at(sample(in, x)), out);
      } else {
        convert_pixel(in, std::size_t(x) * samples_, out);
      }
    }
  }

 private:
  bool is_palette() const { return header_.color_type == SPNG_COLOR_TYPE_INDEXED; }
  bool has_alpha() const { return samples_ % 2 == 0 || has_key_; }

  void read_palette(spng_ctx* context) {
    spng_plte palette{};
    check_read(spng_get_plte(context, &palette));
    colors_.resize(palette.n_entries);
    for (std::size_t n = 0; n < colors_.size(); ++n) {
      const int alpha = has_key_ && n < transparency_.n_type3_entries ? transparency_.type3_alpha[n] : 255;
      const spng_plte_entry& entry = palette.entries[n];
      colors_[n] = {over_white(entry.red, alpha), over_white(entry.green, alpha), over_white(entry.blue, alpha)};
    }
  }

  const Color& color_at(int index) const {
    if (std::size_t(index) >= colors_.size())
      throw Error(Fault::bad_picture, "the PNG file names a colour that its palette lacks", kDamagedHint);
    return colors_[index];
  }

  static void put(const Color& color, std::uint8_t* out) { std::copy(color.begin(), color.end(), out); }

  int sample(const std::uint8_t* in, std::size_t n) const {
    const unsigned depth = header_.bit_depth;
    if (depth == 8) return in[n];
    if (depth == 16) {
      std::uint16_t wide;
      std::copy(in + 2 * n, in + 2 * n + 2, reinterpret_cast<std::uint8_t*>(&wide));
      return wide;
    }
    const std::size_t bit = n * depth;
    return in[bit / 8] >> (8 - depth - bit % 8) & largest_;
  }

  // Rounded to nearest.
  std::uint8_t to_8_bits(int value) const { return static_cast<std::uint8_t>((value * 255 + largest_ / 2) / largest_); }

  bool is_key(const std::uint8_t* in, std::size_t at) const {
    for (int c = 0; c < samples_; ++c) {
      if (sample(in, at + c) != key_[c]) return false;
    }
    return true;
  }

  int alpha_at(const std::uint8_t* in, std::size_t at) const {
    if (samples_ % 2 == 0) return to_8_bits(sample(in, at + samples_ - 1));
    return has_key_ && is_key(in, at) ? 0 : 255;
  }

  void convert_pixel(const std::uint8_t* in, std::size_t at, std::uint8_t* out) const {
    const int alpha = alpha_at(in, at);
    for (int c = 0; c < channels(); ++c) out[c] = over_white(to_8_bits(sample(in, at + c)), alpha);
  }

  spng_ihdr header_;
  int samples_, largest_;  // a pixel; the largest value of one
  spng_trns transparency_{};
  bool has_key_;            // a tRNS chunk: one colour, or some of the palette's, are transparent
  std::array<int, 3> key_;  // that one colour
  std::vector<Color> colors_;
};

// ---- interlacing

// The pixels that one of Adam7's passes holds: columns first, first + step, ...
struct Columns {
  int first, step;
  int count(int width) const { return (width - first + step - 1) / step; }
};

Columns columns_of(const spng_ihdr& header, int pass) {
  constexpr Columns kAdam7[] = {{0, 8}, {4, 8}, {0, 4}, {2, 4}, {0, 2}, {1, 2}, {0, 1}};
  return header.interlace_method == SPNG_INTERLACE_NONE ? Columns{0, 1} : kAdam7[pass];
}

Picture read_rows(spng_ctx* context, const spng_ihdr& header, const Interrupt& interrupt) {
  const RowConverter converter(context, header);
  Picture picture{int(header.width), int(header.height), converter.channels(), {}};
  const std::size_t channels = picture.channels, stride = picture.width * channels;
  picture.samples.resize(stride * picture.height);
  std::vector<std::uint8_t> row(row_bytes(header));
  check_read(spng_decode_image(context, nullptr, 0, SPNG_FMT_PNG, SPNG_DECODE_PROGRESSIVE));
  for (int code = 0; code != SPNG_EOI;) {
    interrupt.check();
    spng_row_info info;
    check_read(spng_get_row_info(context, &info));
    code = spng_decode_scanline(context, row.data(), row.size());
    if (code != SPNG_EOI) check_read(code);
    const Columns columns = columns_of(header, info.pass);
    std::uint8_t* out = picture.samples.data() + stride * info.row_num + columns.first * channels;
    converter.convert(row.data(), columns.count(picture.width), out, columns.step * channels);
  }
  check_read(spng_decode_chunks(context));  // to the end marker
  return picture;
}

void write_rows(spng_ctx* context, const Picture& picture, const Interrupt& interrupt) {
  check_write(spng_encode_image(context, nullptr, 0, SPNG_FMT_PNG, SPNG_ENCODE_PROGRESSIVE | SPNG_ENCODE_FINALIZE));
  const std::size_t stride = std::size_t(picture.width) * picture.channels;
  for (int y = 0; y < picture.height; ++y) {
    interrupt.check();
    const int code = spng_encode_row(context, picture.samples.data() + stride * y, stride);
    if (code != SPNG_EOI) check_write(code);
  }
}

}  // namespace

Picture read_png(Bytes file, const Limits& limits, const Interrupt& interrupt) {
  const std::vector<std::uint8_t> shown = without_extras(file);
  const Context context = make_context(0);
  check_read(spng_set_image_limits(context.get(), kMaxEdge, kMaxEdge));
  check_read(spng_set_crc_action(context.get(), SPNG_CRC_ERROR, SPNG_CRC_ERROR));
  check_read(spng_set_png_buffer(context.get(), shown.data(), shown.size()));
  spng_ihdr header{};
  check_read(spng_get_ihdr(context.get(), &header));
  check_size(header, shown.size(), limits);
  return read_rows(context.get(), header, interrupt);
}

std::vector<std::uint8_t> write_png(const Picture& picture, const Interrupt& interrupt) {
  check_whole(picture);
  const Context context = make_context(SPNG_CTX_ENCODER);
  check_write(spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1));
  spng_ihdr header{};
  header.width = static_cast<std::uint32_t>(picture.width);
  header.height = static_cast<std::uint32_t>(picture.height);
  header.bit_depth = 8;
  header.color_type = picture.channels == 1 ? SPNG_COLOR_TYPE_GRAYSCALE : SPNG_COLOR_TYPE_TRUECOLOR;
  check_write(spng_set_ihdr(context.get(), &header));
  write_rows(context.get(), picture, interrupt);

  std::size_t size = 0;
  int code = 0;
  const std::unique_ptr<void, void (*)(void*)> file(spng_get_png_buffer(context.get(), &size, &code), std::free);
  check_write(code);
  const auto* bytes = static_cast<const std::uint8_t*>(file.get());
  return {bytes, bytes + size};
}

}  // namespace imagecalc
