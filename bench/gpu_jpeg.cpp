#include "gpu_jpeg.h"

#ifdef IMAGECALC_NVJPEG

#include <cuda_runtime_api.h>
#include <nvjpeg.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace imagecalc {

namespace {

void check(cudaError_t status, const char* doing) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(doing) + ": " + cudaGetErrorString(status));
}

void check(nvjpegStatus_t status, const char* doing) {
  if (status == NVJPEG_STATUS_SUCCESS) return;
  throw std::runtime_error(std::string(doing) + " failed, with nvJPEG's status " + std::to_string(status));
}

class Decoder {
 public:
  Decoder(std::span<const Blob> files, nvjpegBackend_t backend) {
    check(nvjpegCreateEx(backend, nullptr, nullptr, 0, &handle_), "opening nvJPEG");
    check(nvjpegJpegStateCreate(handle_, &state_), "opening nvJPEG");
    check(cudaStreamCreate(&stream_), "making a stream");
    for (const Blob& file : files) add(file);
    const auto threads = static_cast<int>(std::thread::hardware_concurrency());
    check(nvjpegDecodeBatchedInitialize(handle_, state_, static_cast<int>(files.size()), threads, NVJPEG_OUTPUT_RGBI),
          "preparing a batch");
  }
  ~Decoder() {
    for (const nvjpegImage_t& image : images_) cudaFree(image.channel[0]);
    if (stream_) cudaStreamDestroy(stream_);
    if (state_) nvjpegJpegStateDestroy(state_);
    if (handle_) nvjpegDestroy(handle_);
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  void decode() {
    check(nvjpegDecodeBatched(handle_, state_, data_.data(), sizes_.data(), images_.data(), stream_), "decoding");
    check(cudaStreamSynchronize(stream_), "decoding");
  }

 private:
  void add(const Blob& file) {
    int components, widths[NVJPEG_MAX_COMPONENT], heights[NVJPEG_MAX_COMPONENT];
    nvjpegChromaSubsampling_t subsampling;
    check(nvjpegGetImageInfo(handle_, file.data(), file.size(), &components, &subsampling, widths, heights), "reading a header");
    nvjpegImage_t image{};
    image.pitch[0] = 3 * static_cast<std::size_t>(widths[0]);
    check(cudaMalloc(reinterpret_cast<void**>(&image.channel[0]), image.pitch[0] * static_cast<std::size_t>(heights[0])),
          "allocating pixels");
    images_.push_back(image);
    data_.push_back(file.data());
    sizes_.push_back(file.size());
  }

  nvjpegHandle_t handle_ = nullptr;
  nvjpegJpegState_t state_ = nullptr;
  cudaStream_t stream_ = nullptr;
  std::vector<nvjpegImage_t> images_;
  std::vector<const unsigned char*> data_;
  std::vector<std::size_t> sizes_;
};

double us_of(std::span<const Blob> files, nvjpegBackend_t backend, double seconds) {
  using Clock = std::chrono::steady_clock;
  Decoder decoder(files, backend);
  decoder.decode();  // warm
  std::size_t pictures = 0;
  double elapsed = 0;
  const auto begin = Clock::now();
  do {
    decoder.decode();
    pictures += files.size();
    elapsed = std::chrono::duration<double>(Clock::now() - begin).count();
  } while (elapsed < seconds);
  return 1e6 * elapsed / static_cast<double>(pictures);
}

}  // namespace

std::optional<double> nvjpeg_us(std::span<const Blob> files, double seconds) {
  const double by_kernels = us_of(files, NVJPEG_BACKEND_DEFAULT, seconds);
  try {
    return std::min(by_kernels, us_of(files, NVJPEG_BACKEND_HARDWARE, seconds));
  } catch (const std::runtime_error&) {  // this GPU has no such part, or that does not decode pictures like these
    return by_kernels;
  }
}

}  // namespace imagecalc

#else

namespace imagecalc {

std::optional<double> nvjpeg_us(std::span<const Blob>, double) { return std::nullopt; }

}  // namespace imagecalc

#endif
