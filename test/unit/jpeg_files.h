// JPEG files as encoders other than ours write them, and their pictures as plain libjpeg decodes them.
#pragma once

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <vector>

#include <jpeglib.h>

#include "codec/picture.h"

namespace imagecalc::test {

// samples: interleaved, in the colour space given.
template <typename Adjust>
std::vector<std::uint8_t> compress(const Picture& picture, J_COLOR_SPACE space, Adjust adjust) {
  jpeg_error_mgr errors;
  jpeg_compress_struct info;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = picture.width;
  info.image_height = picture.height;
  info.input_components = picture.channels;
  info.in_color_space = space;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 95, TRUE);
  adjust(&info);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    const std::size_t at = std::size_t(info.next_scanline) * picture.width * picture.channels;
    auto* row = const_cast<JSAMPROW>(picture.samples.data() + at);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::vector<std::uint8_t> file(buffer, buffer + size);
  std::free(buffer);
  return file;
}

// How many luma samples there are to a chroma sample.
struct Sampling {
  int across, down;
};
inline constexpr Sampling kSamplings[] = {{1, 1}, {2, 1}, {1, 2}, {2, 2}, {4, 1}, {1, 4}, {4, 2}};

inline std::vector<std::uint8_t> compress(const Picture& picture, int quality, Sampling sampling) {
  return compress(picture, picture.channels == 1 ? JCS_GRAYSCALE : JCS_RGB, [&](j_compress_ptr info) {
    jpeg_set_quality(info, quality, TRUE);
    info->comp_info[0].h_samp_factor = sampling.across;
    info->comp_info[0].v_samp_factor = sampling.down;
  });
}

// Black outlines before saturated colours and white: coarsely quantized, its pixels overshoot 0..255 far and wide.
inline Picture outlines(int width, int height, int channels) {
  constexpr std::uint8_t kColours[][3] = {{20, 90, 255}, {255, 255, 255}, {255, 200, 10}, {240, 20, 30}};
  Picture picture{width, height, channels, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const bool dark = (x + y / 3) % 11 < 2 || (2 * y + x) % 23 < 3;
      const auto& colour = kColours[(x / 40 + y / 24) % 4];
      for (int c = 0; c < channels; ++c) picture.samples.push_back(dark ? 0 : colour[channels == 1 ? 2 : c]);
    }
  }
  return picture;
}

// As djpeg does it, with -nosmooth where not smooth; CMYK as it is. Nothing where libjpeg complains of the file.
inline std::optional<Picture> decode_plainly(Bytes file, bool smooth) {
  struct Errors {
    jpeg_error_mgr base;
    jmp_buf jump;
  } errors;
  jpeg_decompress_struct info;
  info.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = [](j_common_ptr failed) { std::longjmp(reinterpret_cast<Errors*>(failed->err)->jump, 1); };
  errors.base.emit_message = [](j_common_ptr at, int level) {
    if (level < 0) ++at->err->num_warnings;
  };
  jpeg_create_decompress(&info);
  Picture picture;
  if (setjmp(errors.jump) != 0) {
    jpeg_destroy_decompress(&info);
    return std::nullopt;
  }
  jpeg_mem_src(&info, file.data(), file.size());
  jpeg_read_header(&info, TRUE);
  info.do_fancy_upsampling = smooth;
  jpeg_start_decompress(&info);
  picture.width = info.output_width;
  picture.height = info.output_height;
  picture.channels = info.output_components;
  picture.samples.resize(std::size_t(picture.width) * picture.height * picture.channels);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = picture.samples.data() + std::size_t(info.output_scanline) * picture.width * picture.channels;
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  const bool sound = errors.base.num_warnings == 0;
  jpeg_destroy_decompress(&info);
  if (!sound) return std::nullopt;
  return picture;
}

}  // namespace imagecalc::test
