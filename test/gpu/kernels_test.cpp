// The kernels on a device against the same steps on the CPU, which test/unit/gpu_test.cpp compares with the codec.
#include "gpu/kernels.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "codec/encode.h"
#include "codec/rans_tables.h"
#include "gpu/device_error.h"
#include "gpu/host.h"
#include "pictures.h"

namespace imagecalc::gpu {
namespace {

constexpr Normalisation kNormalisation{{3.5f, -2.25f, 0.1f}, {40.0f, 7.0f, 3.0f}};

template <typename T>
std::vector<T> download(const T* from, std::size_t count) {
  std::vector<T> values(count);
  check_cuda(cudaMemcpy(values.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost), "copying from the device");
  return values;
}

template <typename T>
class DeviceMemory {
 public:
  explicit DeviceMemory(std::size_t count) {
    void* memory = nullptr;
    check_cuda(cudaMalloc(&memory, count * sizeof(T) + 1), "taking memory");
    data_ = static_cast<T*>(memory);
  }
  ~DeviceMemory() { cudaFree(data_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  T* data() const { return data_; }
  void upload(const T* from, std::size_t count) {
    check_cuda(cudaMemcpy(data_, from, count * sizeof(T), cudaMemcpyHostToDevice), "copying to the device");
  }

 private:
  T* data_ = nullptr;
};

class Kernels : public testing::Test {
 protected:
  void SetUp() override {
    int devices = 0;
    const cudaError_t status = cudaGetDeviceCount(&devices);
    if (status != cudaSuccess || devices == 0) {
      GTEST_SKIP() << "there is no CUDA device here: " << (status == cudaSuccess ? "none was found" : cudaGetErrorString(status));
    }
  }
};

template <typename Number>
void expect_hosts_tensor(const std::vector<Sent>& images, const Format& format, Order order, NumberKind kind) {
  const BatchLayout layout = lay_out(images);
  std::vector<std::uint64_t> batch(layout.bytes / sizeof(std::uint64_t) + 1);
  auto* bytes = reinterpret_cast<std::uint8_t*>(batch.data());
  pack(images, layout, bytes);
  const std::size_t count = images.size() * kTensorChannels * layout.shape.area();
  const Affine affine = affine_of(format, kNormalisation);
  std::vector<Number> wanted(count);
  ASSERT_EQ(run_on_host(bytes, layout, affine, order, kind, wanted.data()), std::vector<bool>(images.size(), false));

  constexpr std::size_t kTable = std::size_t{rans::kContexts} * rans::kSlots;
  DeviceMemory<std::uint32_t> table(kTable);
  table.upload(rans::decoding_table(), kTable);
  DeviceMemory<std::uint8_t> there(layout.bytes), workspace(workspace_of(layout.shape).bytes);
  there.upload(bytes, layout.bytes);
  DeviceMemory<Number> tensors(count);
  const DeviceBatch on_device{there.data(), workspace.data(), table.data()};
  launch_decode(on_device, layout, nullptr);
  launch_place(on_device, layout, affine, order, kind, tensors.data(), nullptr);
  if (layout.has_payloads) {
    const auto* decoded = reinterpret_cast<const std::uint32_t*>(workspace.data() + workspace_of(layout.shape).decoded);
    for (const std::uint32_t large : download(decoded, images.size())) ASSERT_NE(large, kRefused) << to_string(format);
  }
  const std::vector<Number> found = download<Number>(tensors.data(), count);
  ASSERT_EQ(std::memcmp(found.data(), wanted.data(), count * sizeof(Number)), 0) << to_string(format);
}

// Every 7th format, colour and gray, sent as planes and as payloads.
TEST_F(Kernels, GiveTheHostsTensors) {
  const Picture colour = test::drawn_picture(90, 128, 3), gray = test::drawn_picture(128, 128, 1);
  const std::vector<Format> formats = design_space(128);
  for (std::size_t f = 0; f < formats.size(); f += 7) {
    const auto one = write_value(encode(colour, formats[f], {}), 3), other = write_value(encode(gray, formats[f], {}), 3);
    std::vector<Sent> planes, payloads;
    for (const auto* value : {&one, &other, &one}) {
      planes.push_back(read_image(*value, Limits{}));
      payloads.push_back(read_payload(*value, Limits{}));
    }
    for (const auto* images : {&planes, &payloads}) {
      for (const Order order : {Order::channels_first, Order::channels_last}) {
        expect_hosts_tensor<float>(*images, formats[f], order, NumberKind::float32);
        expect_hosts_tensor<Float16>(*images, formats[f], order, NumberKind::float16);
        expect_hosts_tensor<BFloat16>(*images, formats[f], order, NumberKind::bfloat16);
        if (HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace imagecalc::gpu
