// JPEG files, as pixels or as the coefficients that they hold.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "codec/picture.h"

namespace imagecalc {

namespace jpeg {
struct ReadSession;
}

// A block of samples, and its coefficients.
inline constexpr int kJpegBlock = 8, kJpegArea = kJpegBlock * kJpegBlock;

// How components with fewer samples than others get the missing ones: between their neighbours, as djpeg and PyTorch's
// loaders do, or each sample again, as djpeg -nosmooth does. Only the latter is the same in JPEG's coefficients.
enum class Upsampling { smooth, repeated };

// One component of a picture: quantized coefficients of JPEG's orthonormal DCT on blocks of 8 x 8 samples.
struct JpegComponent {
  int repeat_across, repeat_down;  // the columns and rows of the picture that one sample stands for
  int blocks_across, blocks_down;
  // Of the quantizer: [vertical frequency][horizontal frequency], as in a block.
  std::array<std::uint16_t, kJpegArea> steps;
  std::int16_t* blocks;    // a row of blocks after the other, kJpegArea numbers each
  std::size_t row_stride;  // from one row of blocks to the next, in numbers
  // For each of the blocks: whether clip() has left it in sixteenths, and not in steps. Empty: none is.
  std::vector<std::uint8_t> in_sixteenths;
};

// A file whose header has been read and found to be within limits. All three that it is made of must outlive it.
class JpegFile {
 public:
  // Throws Error: unsupported_picture, bad_picture (damaged or truncated), limit_exceeded, cancelled; so do both reads.
  JpegFile(Bytes file, const Limits& limits, const Interrupt& interrupt);
  ~JpegFile();
  JpegFile(const JpegFile&) = delete;
  JpegFile& operator=(const JpegFile&) = delete;

  int width() const;
  int height() const;

  // Whether its components are gray, or JFIF's Y, Cb and Cr, with samples that stand for whole numbers of pixels.
  bool has_jfif_planes() const;

  // A file is read once, by one of these.

  // RGB or gray; CMYK and YCCK become RGB. ICC profiles and EXIF orientation are ignored, as PyTorch's loaders do.
  Picture read_pixels(Upsampling upsampling);

  // The components, in memory that lives as long as this file. Only where has_jfif_planes(). Nothing for a progressive
  // picture that lacks some of its scans: decoders smooth such pictures, and that is not linear.
  std::optional<std::vector<JpegComponent>> read_coefficients();

 private:
  void run(void (*step)(jpeg::ReadSession&));

  std::unique_ptr<jpeg::ReadSession> session_;
};

// The whole file's pixels.
Picture read_jpeg(Bytes file, const Limits& limits, const Interrupt& interrupt, Upsampling upsampling = Upsampling::smooth);

}  // namespace imagecalc
