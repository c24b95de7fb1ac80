#include <algorithm>
#include <string>
#include <vector>

#include "codec/jpeg_session.h"
#include "codec/picture.h"

namespace imagecalc {
namespace {

using jpeg::give_up;

struct WriteSession {
  jpeg_compress_struct info;
  jpeg::ErrorManager errors;
  jpeg_destination_mgr destination;
  const Picture* picture;
  int quality;
  const Interrupt* interrupt;
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
    if (session.interrupt->requested()) give_up(session.errors, Fault::cancelled, "the operation was cancelled");
    JSAMPROW row = const_cast<JSAMPROW>(session.picture->samples.data() + stride * info.next_scanline);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
}

class JpegWriter {
 public:
  JpegWriter(const Picture& picture, int quality, const Interrupt& interrupt) {
    jpeg::prepare(session_.errors);
    session_.info.err = &session_.errors.base;
    session_.picture = &picture;
    session_.quality = quality;
    session_.interrupt = &interrupt;
  }
  ~JpegWriter() {
    jpeg_destroy_compress(&session_.info);
    std::free(session_.buffer);
  }
  JpegWriter(const JpegWriter&) = delete;
  JpegWriter& operator=(const JpegWriter&) = delete;

  std::vector<std::uint8_t> write() {
    if (!jpeg::guarded(session_, compress)) jpeg::raise(session_.errors.failure, "could not write the JPEG picture");
    return {session_.buffer, session_.buffer + session_.size};
  }

 private:
  WriteSession session_{};
};

}  // namespace

std::vector<std::uint8_t> write_jpeg(const Picture& picture, int quality, const Interrupt& interrupt) {
  if (quality < 1 || quality > 100) {
    throw Error(Fault::invalid_argument, "JPEG quality " + std::to_string(quality) + " is out of range",
                "Choose a quality from 1 to 100.");
  }
  check_whole(picture);
  if (picture.width > JPEG_MAX_DIMENSION || picture.height > JPEG_MAX_DIMENSION) {
    throw Error(Fault::limit_exceeded, "a JPEG picture's edge may be at most 65500 pixels",
                "Make a PNG of it: ic_to_png(image).");
  }
  return JpegWriter(picture, quality, interrupt).write();
}

}  // namespace imagecalc
