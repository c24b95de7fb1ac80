// Which kind of file a picture is, told by its first bytes.
#include "codec/picture.h"

#include <utility>

#include "codec/exif.h"
#include "codec/jpeg.h"
#include "codec/readers.h"

namespace imagecalc {
namespace {

Picture read_as_stored(Bytes file, const Limits& limits, const Interrupt& interrupt) {
  switch (file_kind(file)) {
    case FileKind::jpeg:
      return read_jpeg(file, limits, interrupt);
    case FileKind::png:
      return read_png(file, limits, interrupt);
    case FileKind::webp:
      return read_webp(file, limits, interrupt);
    case FileKind::unknown:
      break;
  }
  throw Error(Fault::unsupported_picture, "the bytes are not a JPEG, PNG or WebP file",
              "Convert the picture to one of these.");
}

}  // namespace

FileKind file_kind(Bytes file) {
  if (has_at(file, 0, "\xFF\xD8")) return FileKind::jpeg;
  if (has_at(file, 0, "\x89PNG\r\n\x1A\n")) return FileKind::png;
  if (has_at(file, 0, "RIFF") && has_at(file, 8, "WEBP")) return FileKind::webp;
  return FileKind::unknown;
}

void check_whole(const Picture& picture) {
  const std::size_t samples = std::size_t(picture.width) * picture.height * picture.channels;
  if ((picture.channels != 1 && picture.channels != 3) || samples == 0 || picture.samples.size() != samples) {
    throw Error(Fault::invalid_argument, "a picture's samples do not match its width, height and channels");
  }
}

bool looks_like_picture(Bytes file) { return file_kind(file) != FileKind::unknown; }

Picture read_picture(Bytes file, const Limits& limits, const Interrupt& interrupt, Orientation orientation) {
  Picture picture = read_as_stored(file, limits, interrupt);
  if (orientation == Orientation::as_stored) return picture;
  return upright(std::move(picture), exif_orientation(file), interrupt);
}

}  // namespace imagecalc
