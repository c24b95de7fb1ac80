// JPEG files as pixels.
#include <algorithm>
#include <utility>
#include <vector>

#include "codec/jpeg.h"
#include "codec/jpeg_session.h"

namespace imagecalc {
namespace jpeg {
namespace {

constexpr const char* kTruncated = "the JPEG file is truncated";

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

// At the file's end libjpeg reads an end marker that is not there. An arithmetic decoder takes no notice of it and goes on
// with zeros; it also reads two bytes ahead. So if it gets by with that many, nothing that counts is missing.
boolean on_end_of_file(j_decompress_ptr info) {
  static constexpr JOCTET kZeros[2] = {};
  ReadSession& session = *static_cast<ReadSession*>(info->client_data);
  if (info->arith_code && !session.padded) {
    session.padded = session.errors.ended_early = true;
    info->src->next_input_byte = kZeros;
    info->src->bytes_in_buffer = sizeof kZeros;
    return TRUE;
  }
  const bool in_scan = info->input_iMCU_row < info->total_iMCU_rows;
  if (info->arith_code && in_scan) give_up(session.errors, Fault::bad_picture, kTruncated);
  return session.fill_input_buffer(info);
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
  use_own_blocks(&session.info);
  jpeg_mem_src(&session.info, session.file.data(), session.file.size());
  session.fill_input_buffer = std::exchange(session.info.src->fill_input_buffer, on_end_of_file);
  jpeg_read_header(&session.info, TRUE);
  check_pixels(session);
  choose_output(session);
}

// For a file of several scans this decodes them all.
void start(ReadSession& session) { jpeg_start_decompress(&session.info); }

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
}

// Whether each coefficient of a component has come in its full accuracy: 0 bits of it are missing then.
bool has_all_scans(const jpeg_decompress_struct& info, int component) {
  if (info.coef_bits == nullptr) return true;
  const int* bits = info.coef_bits[component];
  return std::all_of(bits, bits + DCTSIZE2, [](int missing) { return missing == 0; });
}

}  // namespace

bool has_all_scans(const ReadSession& session) {
  for (int c = 0; c < session.info.num_components; ++c) {
    if (!has_all_scans(session.info, c)) return false;
  }
  return true;
}

// libjpeg says nothing of a file that was cut between two scans.
void check_complete(ReadSession& session) {
  for (int c = 0; c < session.info.num_components; ++c) {
    if (session.info.comp_info[c].quant_table == nullptr) {
      give_up(session.errors, Fault::bad_picture, "the JPEG file has no data for a part of its picture");
    }
  }
  if (session.errors.ended_early && !has_all_scans(session)) give_up(session.errors, Fault::bad_picture, kTruncated);
}

}  // namespace jpeg

JpegFile::JpegFile(Bytes file, const Limits& limits, const Interrupt& interrupt)
    : session_(std::make_unique<jpeg::ReadSession>()) {
  jpeg::prepare(session_->errors);
  session_->info.err = &session_->errors.base;
  session_->file = file;
  session_->limits = &limits;
  session_->interrupt = &interrupt;
  session_->memory = jpeg::kept_blocks();
  run(jpeg::read_header);
}

JpegFile::~JpegFile() = default;

void JpegFile::run(void (*step)(jpeg::ReadSession&)) {
  if (!jpeg::guarded(*session_, step)) jpeg::raise(session_->errors.failure, "could not decode the JPEG picture");
}

int JpegFile::width() const { return static_cast<int>(session_->info.image_width); }
int JpegFile::height() const { return static_cast<int>(session_->info.image_height); }

Picture JpegFile::read_pixels(Upsampling upsampling) {
  jpeg::ReadSession& session = *session_;
  session.info.do_fancy_upsampling = upsampling == Upsampling::smooth;
  run(jpeg::start);
  Picture picture;
  picture.width = width();
  picture.height = height();
  picture.channels = session.info.num_components == 1 ? 1 : 3;
  picture.samples.resize(std::size_t(picture.width) * picture.height * picture.channels);
  std::vector<std::uint8_t> line(std::size_t(picture.width) * session.info.output_components);
  session.out = picture.samples.data();
  session.line = line.data();
  run(jpeg::read_rows);
  run(jpeg::check_complete);
  return picture;
}

Picture read_jpeg(Bytes file, const Limits& limits, const Interrupt& interrupt, Upsampling upsampling) {
  return JpegFile(file, limits, interrupt).read_pixels(upsampling);
}

}  // namespace imagecalc
