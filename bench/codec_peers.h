// What the codec is compared with: other ways to store the same coefficients, and JPEG.
#pragma once

#include <cstdio>  // jpeglib.h leaves it to its user

#include <jpeglib.h>

#include <cstdint>
#include <vector>

#include "codec/transform.h"

namespace imagecalc::bench {

// The quantized tensor that a NumPy program would keep: int32 [3][nH*k][nW*k], the triangle in place, zeros elsewhere.
std::vector<std::int32_t> int32_tensor(const Coefficients& coefficients);

// Bytes of the tensor by zlib at level 6, as the paper stores it.
std::size_t zlib_size(const std::vector<std::int32_t>& tensor);

// Bytes of the tensor as numpy.savez_compressed writes it: the same deflate within a zip file, with an npy header.
std::size_t npz_size(const std::vector<std::int32_t>& tensor);

// The order-0 entropy of every plane (a channel's frequency) over all pictures given: what a coder with a table a plane
// would need. It is optimistic: the tables are made from the very pictures that they code, and cost nothing.
class EntropyBound {
 public:
  void add(const Coefficients& coefficients);
  double bytes() const;  // of all pictures together

 private:
  std::vector<std::vector<std::int64_t>> counts_;  // [channel and frequency][zigzag-mapped value]
};

// libjpeg-turbo with everything reused: the handle, its memory and the output buffer.
class JpegDecoder {
 public:
  // fast: the quick and less exact inverse DCT, and chroma that is repeated instead of interpolated.
  explicit JpegDecoder(bool fast);
  ~JpegDecoder();
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  // To 8-bit RGB.
  void decode(Bytes file);

 private:
  bool fast_;
  jpeg_error_mgr errors_;
  jpeg_decompress_struct info_;
  std::vector<std::uint8_t> samples_;
};

}  // namespace imagecalc::bench
