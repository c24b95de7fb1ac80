#include "gpu/kernels.h"

#include <cuda_runtime.h>

#include <algorithm>

#include "gpu/device_error.h"
#include "gpu/steps.h"

namespace imagecalc::gpu {

namespace {

constexpr int kThreads = 256;
constexpr int kWarpsOfADecode = 4;     // images that a block decodes
constexpr unsigned kMostBlocks = 65535;  // of the grid's second dimension

__global__ void decode_kernel(const BatchView batch) {
  const int image = static_cast<int>(blockIdx.x) * kWarpsOfADecode + static_cast<int>(threadIdx.x) / kLanes;
  if (image < batch.shape.images) decode_image(Lanes(), batch, image);
}

template <typename Number>
__global__ void place_kernel(const BatchView batch, const Affine affine, const Order order, Number* tensors) {
  const std::uint32_t n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= kTensorChannels * batch.shape.area()) return;
  for (int image = static_cast<int>(blockIdx.y); image < batch.shape.images; image += static_cast<int>(gridDim.y)) {
    place_at(batch, affine, order, image, n, tensors);
  }
}

template <typename Number>
__global__ void place_large_kernel(const BatchView batch, const Affine affine, const Order order, Number* tensors) {
  for (int image = static_cast<int>(blockIdx.x); image < batch.shape.images; image += static_cast<int>(gridDim.x)) {
    const std::uint32_t count = large_count(batch, image);
    for (std::uint32_t n = threadIdx.x; n < count; n += blockDim.x) place_large_at(batch, affine, order, image, n, tensors);
  }
}

template <typename Number>
void place(const BatchView& view, const BatchLayout& layout, const Affine& affine, Order order, void* tensors, Stream stream) {
  const unsigned images = static_cast<unsigned>(layout.shape.images);
  const unsigned blocks = (kTensorChannels * layout.shape.area() + kThreads - 1) / kThreads;
  const dim3 grid(blocks, std::min(images, kMostBlocks));
  place_kernel<<<grid, kThreads, 0, stream>>>(view, affine, order, static_cast<Number*>(tensors));
  check_cuda(cudaGetLastError(), "placing coefficients");
  if (!layout.has_payloads && layout.most_large == 0) return;
  place_large_kernel<<<images, kThreads, 0, stream>>>(view, affine, order, static_cast<Number*>(tensors));
  check_cuda(cudaGetLastError(), "placing large coefficients");
}

}  // namespace

void launch_decode(const DeviceBatch& batch, const BatchLayout& layout, Stream stream) {
  if (!layout.has_payloads) return;
  const unsigned blocks = (static_cast<unsigned>(layout.shape.images) + kWarpsOfADecode - 1) / kWarpsOfADecode;
  decode_kernel<<<blocks, kWarpsOfADecode * kLanes, 0, stream>>>(view_of(batch, layout));
  check_cuda(cudaGetLastError(), "decoding");
}

void launch_place(const DeviceBatch& batch, const BatchLayout& layout, const Affine& affine, Order order, NumberKind kind,
                  void* tensors, Stream stream) {
  const BatchView view = view_of(batch, layout);
  switch (kind) {
    case NumberKind::float32:
      return place<float>(view, layout, affine, order, tensors, stream);
    case NumberKind::float16:
      return place<Float16>(view, layout, affine, order, tensors, stream);
    case NumberKind::bfloat16:
      return place<BFloat16>(view, layout, affine, order, tensors, stream);
  }
}

}  // namespace imagecalc::gpu
