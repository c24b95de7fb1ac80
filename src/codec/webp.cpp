// WebP files, by libwebp; of an animation the first frame.
#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
#include <memory>
#include <new>

#include "codec/readers.h"

namespace imagecalc {
namespace {

// A picture's coded form, and where it lies on the canvas.
struct Frame {
  Bytes data;
  Box place;
  int canvas_width, canvas_height;
  bool has_alpha;
};

[[noreturn]] void raise_damaged(const char* message) { throw Error(Fault::bad_picture, message, kDamagedHint); }

void check(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_OK:
      return;
    case VP8_STATUS_OUT_OF_MEMORY:
      throw std::bad_alloc();
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      throw Error(Fault::unsupported_picture, "the WebP file has a feature that is not read", "Convert the picture to PNG.");
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA:
      raise_damaged("the WebP file is truncated");
    default:
      raise_damaged("the WebP file is damaged");
  }
}

WebPBitstreamFeatures features_of(Bytes data) {
  WebPBitstreamFeatures features;
  check(WebPGetFeatures(data.data(), data.size(), &features));
  return features;
}

// What the file says of its own length; libwebp would read on and on in hope of more.
void check_length(Bytes file) {
  if (std::size_t{read_le32(file, 4)} + 8 > file.size()) raise_damaged("the WebP file is truncated");
}

void check_size(int width, int height, const Limits& limits) {
  if (std::int64_t{width} * height > limits.max_pixels)
    throw Error(Fault::limit_exceeded, "the WebP picture has more pixels than the limit allows", kTooLargeHint);
}

struct DemuxDeleter {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};

// Points into the file.
Frame first_frame(Bytes file, int canvas_width, int canvas_height) {
  const WebPData data{file.data(), file.size()};
  const std::unique_ptr<WebPDemuxer, DemuxDeleter> demuxer(WebPDemux(&data));
  WebPIterator frame;
  if (!demuxer || !WebPDemuxGetFrame(demuxer.get(), 1, &frame)) raise_damaged("the animated WebP file is damaged");
  const Bytes fragment(frame.fragment.bytes, frame.fragment.size);
  const Box place{frame.x_offset, frame.y_offset, frame.width, frame.height};
  WebPDemuxReleaseIterator(&frame);

  const WebPBitstreamFeatures coded = features_of(fragment);
  if (coded.width != place.width || coded.height != place.height || place.left < 0 || place.top < 0 ||
      place.width > canvas_width - place.left || place.height > canvas_height - place.top)
    raise_damaged("the animated WebP file has a frame that does not fit");
  return {fragment, place, canvas_width, canvas_height, coded.has_alpha != 0};
}

Frame find_frame(Bytes file, const Limits& limits) {
  check_length(file);
  const WebPBitstreamFeatures features = features_of(file);
  check_size(features.width, features.height, limits);
  if (features.has_animation) return first_frame(file, features.width, features.height);
  const Box whole{0, 0, features.width, features.height};
  return {file, whole, features.width, features.height, features.has_alpha != 0};
}

struct DecoderDeleter {
  void operator()(WebPIDecoder* decoder) const { WebPIDelete(decoder); }
};

// In pieces, so that a large file can be stopped; few enough that a header which spans many is not read over and over.
void decode(Bytes data, WEBP_CSP_MODE mode, std::vector<std::uint8_t>& samples, int stride, const Interrupt& interrupt) {
  const std::unique_ptr<WebPIDecoder, DecoderDeleter> decoder(WebPINewRGB(mode, samples.data(), samples.size(), stride));
  if (!decoder) throw std::bad_alloc();
  const std::size_t piece = std::max<std::size_t>(64 << 10, data.size() / 32);
  VP8StatusCode status = VP8_STATUS_SUSPENDED;
  for (std::size_t end = 0; status == VP8_STATUS_SUSPENDED && end < data.size();) {
    interrupt.check();
    end = std::min(end + piece, data.size());
    status = WebPIUpdate(decoder.get(), data.data(), end);
  }
  check(status);
}

// RGBA to RGB in place.
void lay_over_white(Picture& picture) {
  const std::size_t pixels = std::size_t(picture.width) * picture.height;
  std::uint8_t* out = picture.samples.data();
  const std::uint8_t* in = out;
  for (std::size_t n = 0; n < pixels; ++n, in += 4) {
    const int alpha = in[3];
    for (int c = 0; c < 3; ++c) *out++ = over_white(in[c], alpha);
  }
  picture.samples.resize(3 * pixels);
}

Picture read_frame(const Frame& frame, const Interrupt& interrupt) {
  Picture picture{frame.place.width, frame.place.height, 3, {}};
  const int samples = frame.has_alpha ? 4 : 3;
  picture.samples.resize(std::size_t(picture.width) * picture.height * samples);
  decode(frame.data, frame.has_alpha ? MODE_RGBA : MODE_RGB, picture.samples, picture.width * samples, interrupt);
  if (frame.has_alpha) lay_over_white(picture);
  return picture;
}

// Around a frame that is smaller than its canvas it is white.
Picture on_canvas(Picture picture, const Frame& frame) {
  if (picture.width == frame.canvas_width && picture.height == frame.canvas_height) return picture;
  Picture canvas{frame.canvas_width, frame.canvas_height, 3, {}};
  const std::size_t canvas_stride = 3 * std::size_t(canvas.width), stride = 3 * std::size_t(picture.width);
  canvas.samples.assign(canvas_stride * canvas.height, 255);
  for (int y = 0; y < picture.height; ++y) {
    std::copy_n(picture.samples.begin() + stride * y, stride,
                canvas.samples.begin() + canvas_stride * (frame.place.top + y) + 3 * std::size_t(frame.place.left));
  }
  return canvas;
}

}  // namespace

Picture read_webp(Bytes file, const Limits& limits, const Interrupt& interrupt) {
  const Frame frame = find_frame(file, limits);
  return on_canvas(read_frame(frame, interrupt), frame);
}

}  // namespace imagecalc
