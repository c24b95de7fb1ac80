#include "codec_peers.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "codec/planes.h"

namespace imagecalc::bench {
namespace {

constexpr int kLevel = 6, kChannels = 3;

// windowBits as in zlib.h: 15 with zlib's header and checksum, -15 without.
std::size_t deflated_size(const std::vector<std::uint8_t>& head, const std::vector<std::int32_t>& tensor, int window_bits) {
  std::vector<std::uint8_t> bytes = head;
  const auto* begin = reinterpret_cast<const std::uint8_t*>(tensor.data());
  bytes.insert(bytes.end(), begin, begin + tensor.size() * sizeof tensor[0]);

  z_stream stream{};
  constexpr int kMemoryLevel = 8;  // zlib's default
  if (deflateInit2(&stream, kLevel, Z_DEFLATED, window_bits, kMemoryLevel, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("zlib could not be set up");
  }
  std::vector<std::uint8_t> out(deflateBound(&stream, bytes.size()));
  stream.next_in = bytes.data();
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  const std::size_t size = stream.total_out;
  deflateEnd(&stream);
  return size;
}

double entropy_bits(const std::vector<std::int64_t>& counts) {
  double total = 0, bits = 0;
  for (const std::int64_t count : counts) total += static_cast<double>(count);
  for (const std::int64_t count : counts) {
    if (count > 0) bits -= static_cast<double>(count) * std::log2(static_cast<double>(count) / total);
  }
  return bits;
}

}  // namespace

std::vector<std::int32_t> int32_tensor(const Coefficients& coefficients) {
  const Geometry geometry = coefficients.geometry();
  const int kept = coefficients.format.kept;
  std::vector<std::int32_t> tensor(kChannels * static_cast<std::size_t>(geometry.tensor_area()));
  const std::int32_t* next = coefficients.values.data();
  for (int c = 0; c < coefficients.channels; ++c) {
    for (const Frequency& frequency : triangle(kept)) {
      for (int down = 0; down < geometry.blocks_down; ++down) {
        for (int across = 0; across < geometry.blocks_across; ++across) {
          const std::int64_t row = std::int64_t{down} * kept + frequency.i;
          const std::int64_t column = std::int64_t{across} * kept + frequency.j;
          tensor[static_cast<std::size_t>(geometry.tensor_area() * c + row * geometry.tensor_width + column)] = *next++;
        }
      }
    }
  }
  return tensor;
}

std::size_t zlib_size(const std::vector<std::int32_t>& tensor) { return deflated_size({}, tensor, 15); }

std::size_t npz_size(const std::vector<std::int32_t>& tensor) {
  constexpr std::size_t kName = 9;                              // arr_0.npy
  constexpr std::size_t kLocal = 30 + kName + 20;               // with the sizes of zip64, which NumPy always writes
  constexpr std::size_t kDirectory = 46 + kName + 22;
  std::string header = "\x93NUMPY\x01" + std::string(1, '\0') + "v" + std::string(1, '\0') +
                       "{'descr': '<i4', 'fortran_order': False, 'shape': (3, " + std::to_string(tensor.size() / 3) + "), }";
  header.resize(127, ' ');
  header += '\n';
  return kLocal + deflated_size({header.begin(), header.end()}, tensor, -15) + kDirectory;
}

void EntropyBound::add(const Coefficients& coefficients) {
  const auto blocks = static_cast<std::size_t>(coefficients.geometry().blocks());
  const std::size_t planes = coefficients.values.size() / blocks;
  if (counts_.size() < planes) counts_.resize(planes);
  const std::int32_t* next = coefficients.values.data();
  for (std::size_t plane = 0; plane < planes; ++plane) {
    for (std::size_t n = 0; n < blocks; ++n) {
      const std::uint32_t symbol = to_zigzag(*next++);
      if (symbol >= counts_[plane].size()) counts_[plane].resize(symbol + 1);
      ++counts_[plane][symbol];
    }
  }
}

double EntropyBound::bytes() const {
  double bits = 0;
  for (const auto& counts : counts_) bits += entropy_bits(counts);
  return bits / 8;
}

// libjpeg's own error handler ends the program: the files are the benchmark's own.
JpegDecoder::JpegDecoder(bool fast) : fast_(fast) {
  info_.err = jpeg_std_error(&errors_);
  jpeg_create_decompress(&info_);
}

JpegDecoder::~JpegDecoder() { jpeg_destroy_decompress(&info_); }

void JpegDecoder::decode(Bytes file) {
  jpeg_mem_src(&info_, file.data(), file.size());
  jpeg_read_header(&info_, TRUE);
  info_.out_color_space = JCS_RGB;
  info_.do_fancy_upsampling = fast_ ? FALSE : TRUE;
  info_.dct_method = fast_ ? JDCT_IFAST : JDCT_ISLOW;
  jpeg_start_decompress(&info_);
  const std::size_t stride = std::size_t{info_.output_width} * kChannels;
  samples_.resize(stride * info_.output_height);
  while (info_.output_scanline < info_.output_height) {
    constexpr int kRows = 16;
    JSAMPROW rows[kRows];
    for (int n = 0; n < kRows; ++n) {
      const JDIMENSION row = std::min(info_.output_scanline + n, info_.output_height - 1);
      rows[n] = samples_.data() + stride * row;
    }
    jpeg_read_scanlines(&info_, rows, std::min<JDIMENSION>(kRows, info_.output_height - info_.output_scanline));
  }
  jpeg_finish_decompress(&info_);
}

}  // namespace imagecalc::bench
