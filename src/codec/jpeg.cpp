// libjpeg leaves a function that fails by longjmp. So whatever it may jump over lives in plain structures, every call into
// it goes through guarded(), and only the functions outside throw.
#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <jerror.h>
#include <jpeglib.h>

#include "codec/picture.h"

namespace imagecalc {
namespace {

constexpr Bytes::value_type kPngSignature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
constexpr const char* kConvertHint = "Convert the picture to JPEG.";

// ---- what libjpeg may jump over

struct LibraryFailure {
  jmp_buf jump;
  Fault fault;
  bool own_message;  // message is ours, and not libjpeg's
  char message[JMSG_LENGTH_MAX];
};

// The first member is what libjpeg knows of it.
struct ErrorManager {
  jpeg_error_mgr base;
  LibraryFailure failure;
  bool ended_early;  // the file ends before its end marker
};

[[noreturn]] void give_up(ErrorManager& errors, Fault fault, const char* message) {
  errors.failure.fault = fault;
  errors.failure.own_message = true;
  std::snprintf(errors.failure.message, sizeof errors.failure.message, "%s", message);
  std::longjmp(errors.failure.jump, 1);
}

ErrorManager& errors_of(j_common_ptr info) { return *reinterpret_cast<ErrorManager*>(info->err); }

Fault fault_of(int code) {
  switch (code) {
    case JERR_OUT_OF_MEMORY:
      return Fault::out_of_memory;
    case JERR_IMAGE_TOO_BIG:
      return Fault::limit_exceeded;
    case JERR_SOF_UNSUPPORTED:
    case JERR_BAD_PRECISION:
    case JERR_COMPONENT_COUNT:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_CCIR601_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_ARITH_NOTIMPL:
    case JERR_NOT_COMPILED:
      return Fault::unsupported_picture;
    default:
      return Fault::bad_picture;
  }
}

[[noreturn]] void on_error(j_common_ptr info) {
  ErrorManager& errors = errors_of(info);
  errors.failure.fault = fault_of(info->err->msg_code);
  errors.failure.own_message = false;
  info->err->format_message(info, errors.failure.message);
  std::longjmp(errors.failure.jump, 1);
}

// Level -1 is a warning: libjpeg found damage and would go on with gray. Only what cannot change the picture may pass.
void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_TOO_MUCH_DATA:
      return;
    case JWRN_JPEG_EOF:
      errors_of(info).ended_early = true;
      return;
    default:
      on_error(info);
  }
}

void prepare(ErrorManager& errors) {
  jpeg_std_error(&errors.base);
  errors.base.error_exit = on_error;
  errors.base.emit_message = on_message;
  errors.base.output_message = [](j_common_ptr) {};
}

// Whether the step came to its end. Its locals must need no destructor.
template <typename Session>
bool guarded(Session& session, void (*step)(Session&)) {
  if (setjmp(session.errors.failure.jump) != 0) return false;
  step(session);
  return true;
}

[[noreturn]] void raise(const LibraryFailure& failure, const char* action) {
  if (failure.fault == Fault::cancelled) throw Error(Fault::cancelled, failure.message);
  const char* hint = "";
  if (failure.fault == Fault::bad_picture) hint = "The file is damaged; get it again from where it came.";
  if (failure.fault == Fault::unsupported_picture) hint = "Convert the picture to baseline or progressive 8-bit JPEG.";
  if (failure.fault == Fault::limit_exceeded) hint = "Use a smaller picture, or raise imagecalc.max_pixels.";
  std::string message = failure.own_message ? std::string() : std::string(action) + ": ";
  throw Error(failure.fault, message.append(failure.message), hint);
}

// ---- reading

struct ReadSession {
  jpeg_decompress_struct info;
  ErrorManager errors;
  jpeg_progress_mgr progress;
  Bytes file;
  const Limits* limits;
  const Interrupt* interrupt;
  std::uint8_t* out;   // the picture's samples
  std::uint8_t* line;  // one row as libjpeg gives it, where that differs (CMYK)
};

void check_interrupt(ReadSession& session) {
  if (session.interrupt->requested()) give_up(session.errors, Fault::cancelled, "the operation was cancelled");
}

// Called at least once for every row of blocks in every scan.
void on_progress(j_common_ptr info) {
  ReadSession& session = *static_cast<ReadSession*>(info->client_data);
  check_interrupt(session);
  if (session.info.input_scan_number > session.limits->max_scans) {
    give_up(session.errors, Fault::limit_exceeded, "the JPEG picture has more scans than the limit allows");
  }
}

void check_pixels(ReadSession& session) {
  const std::int64_t pixels = std::int64_t{session.info.image_width} * session.info.image_height;
  if (pixels > session.limits->max_pixels) {
    give_up(session.errors, Fault::limit_exceeded, "the JPEG picture has more pixels than the limit allows");
  }
  // A Huffman-coded block takes at least a bit, and covers at most 32 x 8 pixels.
  constexpr std::int64_t kPixelsPerByte = 32 * 8 * 8;
  if (!session.info.arith_code && pixels / kPixelsPerByte > static_cast<std::int64_t>(session.file.size())) {
    give_up(session.errors, Fault::bad_picture, "the JPEG file is too short for its picture");
  }
}

void choose_output(ReadSession& session) {
  switch (session.info.num_components) {
    case 1:
      session.info.out_color_space = JCS_GRAYSCALE;
      return;
    case 3:
      session.info.out_color_space = JCS_RGB;
      return;
    case 4:
      session.info.out_color_space = JCS_CMYK;
      return;
    default:
      give_up(session.errors, Fault::unsupported_picture, "a JPEG picture must have 1, 3 or 4 components");
  }
}

void read_header(ReadSession& session) {
  jpeg_create_decompress(&session.info);
  session.info.client_data = &session;
  session.progress.progress_monitor = on_progress;
  session.info.progress = &session.progress;
  jpeg_mem_src(&session.info, session.file.data(), session.file.size());
  jpeg_read_header(&session.info, TRUE);
  check_pixels(session);
  choose_output(session);
}

// For a file of several scans this decodes them all.
void start(ReadSession& session) { jpeg_start_decompress(&session.info); }

// libjpeg says nothing of a file that was cut between two scans.
void check_complete(ReadSession& session) {
  const jpeg_decompress_struct& info = session.info;
  for (int c = 0; c < info.num_components; ++c) {
    if (info.comp_info[c].quant_table == nullptr) {
      give_up(session.errors, Fault::bad_picture, "the JPEG file has no data for a part of its picture");
    }
    // The accuracy reached for each coefficient: 0 when it is complete.
    const bool complete = info.coef_bits == nullptr ||
                          std::all_of(info.coef_bits[c], info.coef_bits[c] + DCTSIZE2, [](int bits) { return bits == 0; });
    if (session.errors.ended_early && (info.arith_code || !complete)) {
      give_up(session.errors, Fault::bad_picture, "the JPEG file is truncated");
    }
  }
}

// Adobe writes CMYK inverted: 255 is no ink.
void cmyk_to_rgb(const std::uint8_t* cmyk, std::size_t width, bool inverted, std::uint8_t* rgb) {
  const int flip = inverted ? 0 : 255;
  for (std::size_t x = 0; x < width; ++x, cmyk += 4) {
    for (int c = 0; c < 3; ++c) *rgb++ = static_cast<std::uint8_t>(((cmyk[c] ^ flip) * (cmyk[3] ^ flip) + 127) / 255);
  }
}

void read_rows(ReadSession& session) {
  jpeg_decompress_struct& info = session.info;
  const bool cmyk = info.out_color_space == JCS_CMYK;
  const std::size_t stride = std::size_t{info.output_width} * (info.num_components == 1 ? 1 : 3);
  while (info.output_scanline < info.output_height) {
    check_interrupt(session);
    std::uint8_t* out = session.out + stride * info.output_scanline;
    JSAMPROW row = cmyk ? session.line : out;
    jpeg_read_scanlines(&info, &row, 1);
    if (cmyk) cmyk_to_rgb(row, info.output_width, info.saw_Adobe_marker, out);
  }
  check_complete(session);
}

class JpegReader {
 public:
  JpegReader(Bytes file, const Limits& limits, const Interrupt& interrupt) {
    prepare(session_.errors);
    session_.info.err = &session_.errors.base;
    session_.file = file;
    session_.limits = &limits;
    session_.interrupt = &interrupt;
  }
  ~JpegReader() { jpeg_destroy_decompress(&session_.info); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  Picture read() {
    run(read_header);
    run(start);
    Picture picture;
    picture.width = static_cast<int>(session_.info.output_width);
    picture.height = static_cast<int>(session_.info.output_height);
    picture.channels = session_.info.num_components == 1 ? 1 : 3;
    picture.samples.resize(std::size_t(picture.width) * picture.height * picture.channels);
    std::vector<std::uint8_t> line(std::size_t(picture.width) * session_.info.output_components);
    session_.out = picture.samples.data();
    session_.line = line.data();
    run(read_rows);
    return picture;
  }

 private:
  void run(void (*step)(ReadSession&)) {
    if (!guarded(session_, step)) raise(session_.errors.failure, "could not decode the JPEG picture");
  }

  ReadSession session_{};
};

// ---- writing

struct WriteSession {
  jpeg_compress_struct info;
  ErrorManager errors;
  jpeg_destination_mgr destination;
  const Picture* picture;
  int quality;
  std::uint8_t* buffer;  // from malloc
  std::size_t capacity, size;
};

// libjpeg's own memory destination loses track of its buffer when an error comes in between: so here is one that does not.
void grow(j_compress_ptr info) {
  WriteSession& session = *static_cast<WriteSession*>(info->client_data);
  constexpr std::size_t kFirst = 64 << 10;
  const std::size_t used = session.capacity, capacity = std::max(kFirst, 2 * used);
  void* buffer = std::realloc(session.buffer, capacity);
  if (buffer == nullptr) give_up(session.errors, Fault::out_of_memory, "not enough memory for a JPEG file");
  session.buffer = static_cast<std::uint8_t*>(buffer);
  session.capacity = capacity;
  session.destination.next_output_byte = session.buffer + used;
  session.destination.free_in_buffer = capacity - used;
}

boolean on_full(j_compress_ptr info) {
  grow(info);
  return TRUE;
}

void on_end(j_compress_ptr info) {
  WriteSession& session = *static_cast<WriteSession*>(info->client_data);
  session.size = session.capacity - session.destination.free_in_buffer;
}

void compress(WriteSession& session) {
  jpeg_compress_struct& info = session.info;
  jpeg_create_compress(&info);
  info.client_data = &session;
  session.destination.init_destination = grow;
  session.destination.empty_output_buffer = on_full;
  session.destination.term_destination = on_end;
  info.dest = &session.destination;
  info.image_width = static_cast<JDIMENSION>(session.picture->width);
  info.image_height = static_cast<JDIMENSION>(session.picture->height);
  info.input_components = session.picture->channels;
  info.in_color_space = info.input_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, session.quality, TRUE);
  jpeg_start_compress(&info, TRUE);
  const std::size_t stride = std::size_t{info.image_width} * info.input_components;
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(session.picture->samples.data() + stride * info.next_scanline);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
}

class JpegWriter {
 public:
  JpegWriter(const Picture& picture, int quality) {
    prepare(session_.errors);
    session_.info.err = &session_.errors.base;
    session_.picture = &picture;
    session_.quality = quality;
  }
  ~JpegWriter() {
    jpeg_destroy_compress(&session_.info);
    std::free(session_.buffer);
  }
  JpegWriter(const JpegWriter&) = delete;
  JpegWriter& operator=(const JpegWriter&) = delete;

  std::vector<std::uint8_t> write() {
    if (!guarded(session_, compress)) raise(session_.errors.failure, "could not write the JPEG picture");
    return {session_.buffer, session_.buffer + session_.size};
  }

 private:
  WriteSession session_{};
};

bool starts_like_jpeg(Bytes file) { return file.size() >= 2 && file[0] == 0xFF && file[1] == 0xD8; }

bool starts_like_png(Bytes file) {
  return file.size() >= sizeof kPngSignature && std::memcmp(file.data(), kPngSignature, sizeof kPngSignature) == 0;
}

bool starts_like_webp(Bytes file) {
  return file.size() >= 12 && std::memcmp(file.data(), "RIFF", 4) == 0 && std::memcmp(file.data() + 8, "WEBP", 4) == 0;
}

}  // namespace

bool looks_like_picture(Bytes file) { return starts_like_jpeg(file) || starts_like_png(file) || starts_like_webp(file); }

Picture read_picture(Bytes file, const Limits& limits, const Interrupt& interrupt) {
  if (starts_like_png(file)) throw Error(Fault::unsupported_picture, "PNG pictures are not supported", kConvertHint);
  if (starts_like_webp(file)) throw Error(Fault::unsupported_picture, "WebP pictures are not supported", kConvertHint);
  if (!starts_like_jpeg(file)) throw Error(Fault::unsupported_picture, "the bytes are not a JPEG file", kConvertHint);
  return JpegReader(file, limits, interrupt).read();
}

std::vector<std::uint8_t> write_jpeg(const Picture& picture, int quality) {
  if (quality < 1 || quality > 100) throw Error(Fault::invalid_argument, "JPEG quality must be between 1 and 100");
  const std::size_t samples = std::size_t(picture.width) * picture.height * picture.channels;
  if ((picture.channels != 1 && picture.channels != 3) || samples == 0 || picture.samples.size() != samples) {
    throw Error(Fault::invalid_argument, "a picture's samples do not match its width, height and channels");
  }
  return JpegWriter(picture, quality).write();
}

}  // namespace imagecalc
