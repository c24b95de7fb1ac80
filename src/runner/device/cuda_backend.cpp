// CUDA as a Backend, and the plug-in that brings it: built apart from the runner, against LibTorch's CUDA part.
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <mutex>
#include <optional>

#include "codec/rans_tables.h"
#include "gpu/device_error.h"
#include "gpu/kernels.h"
#include "runner/device/plugin.h"

namespace imagecalc {

namespace {

using gpu::check_cuda;

class CudaMark : public Backend::Mark {
 public:
  explicit CudaMark(cudaStream_t stream) {
    check_cuda(cudaEventCreate(&event), "making an event");
    check_cuda(cudaEventRecord(event, stream), "recording an event");
  }
  ~CudaMark() override { cudaEventDestroy(event); }
  CudaMark(const CudaMark&) = delete;
  CudaMark& operator=(const CudaMark&) = delete;

  cudaEvent_t event = nullptr;
};

cudaEvent_t event_of(const Backend::Mark& mark) { return static_cast<const CudaMark&>(mark).event; }

// Streams of our own: those of LibTorch's pool come round to others, which must not find themselves in a recording.
c10::cuda::CUDAStream make_stream(c10::DeviceIndex device) {
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
  return c10::cuda::getStreamFromExternal(stream, device);
}

std::size_t reserved_bytes(c10::DeviceIndex device) {
  const auto all = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return static_cast<std::size_t>(c10::cuda::CUDACachingAllocator::getDeviceStats(device).reserved_bytes[all].current);
}

// As on a stream that only records. Others may use the device meanwhile, but not record. From LibTorch 2.15 on recordings do not share
// cuBLAS's workspace, so that two may run at a time (not where TORCH_CUBLAS_WORKSPACE_CACHE is set).
class CudaRecording : public Backend::Recording {
 public:
  CudaRecording(c10::DeviceIndex device, const std::function<void()>& work) {
    static std::mutex recording;
    std::lock_guard lock(recording);
    c10::cuda::CUDACachingAllocator::emptyCache();  // what is only kept for later is not taken for a recording
    const std::size_t before = reserved_bytes(device);
    graph_.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      try {
        graph_.capture_end();
      } catch (const std::exception&) {  // the first failure tells more
      }
      throw;
    }
    graph_.capture_end();
    const std::size_t now = reserved_bytes(device);
    bytes_ = now - std::min(now, before);
  }
  void repeat() override { graph_.replay(); }
  std::size_t bytes() const override { return bytes_; }

 private:
  at::cuda::CUDAGraph graph_;
  std::size_t bytes_ = 0;
};

class CudaBackend : public Backend {
 public:
  CudaBackend(int number, const cudaDeviceProp& properties)
      : number_(static_cast<c10::DeviceIndex>(number)), description_(properties.name) {}

  c10::Device place() const override { return {c10::kCUDA, number_}; }
  std::string name() const override { return "cuda:" + std::to_string(number_); }
  std::string description() const override { return description_; }

  c10::Stream next_stream() override {
    const auto& streams = parts().streams;
    return streams[turn_++ % streams.size()].unwrap();
  }
  at::Tensor staging(std::int64_t bytes) override { return at::empty(bytes, at::TensorOptions(at::kByte).pinned_memory(true)); }

  std::shared_ptr<Mark> mark() override { return std::make_shared<CudaMark>(current()); }
  void follow(const Mark& mark) override { check_cuda(cudaStreamWaitEvent(current(), event_of(mark), 0), "ordering streams"); }
  void keep_for_current_stream(const at::Tensor& tensor) override {
    tensor.record_stream(c10::cuda::getCurrentCUDAStream(number_).unwrap());
  }
  void decode(const gpu::DeviceBatch& batch, const gpu::BatchLayout& layout) override {
    gpu::launch_decode(with_table(batch), layout, current());
  }
  void place(const gpu::DeviceBatch& batch, const gpu::BatchLayout& layout, const gpu::Affine& affine, gpu::Order order,
             gpu::NumberKind kind, void* tensors) override {
    gpu::launch_place(with_table(batch), layout, affine, order, kind, tensors, current());
  }

  void wait(const Mark& mark) override { check_cuda(cudaEventSynchronize(event_of(mark)), "waiting"); }
  float us_between(const Mark& begin, const Mark& end) override {
    wait(end);
    float ms = 0;
    check_cuda(cudaEventElapsedTime(&ms, event_of(begin), event_of(end)), "reading a clock");
    return 1000 * ms;
  }

  std::unique_ptr<Recording> record(const std::function<void()>& work) override {
    const auto before = mark();
    std::unique_ptr<CudaRecording> recording;
    {
      c10::cuda::CUDAStreamGuard guard(parts().recorder);
      follow(*before);
      recording = std::make_unique<CudaRecording>(number_, work);
    }
    recording->repeat();
    return recording;
  }

  // An error that concerns one call is forgotten; any other comes again. A stream of ours, as nothing may be asked of LibTorch's
  // while another thread records.
  bool answers() override try {
    cudaGetLastError();
    const cudaError_t status = cudaStreamQuery(parts().streams.front().stream());
    return status == cudaSuccess || status == cudaErrorNotReady;
  } catch (const std::exception&) {  // it has not come so far
    return false;
  }

 private:
  // What makes a context on the device: only where it is used.
  struct Parts {
    explicit Parts(c10::DeviceIndex number) : recorder(make_stream(number)) {
      constexpr int kStreams = 4;  // of batches: one copies, one decodes, two are in the model
      for (int i = 0; i < kStreams; ++i) streams.push_back(make_stream(number));
      constexpr std::int64_t kBytes = std::int64_t{rans::kContexts} * rans::kSlots * sizeof(std::uint32_t);
      const at::Tensor here = at::from_blob(const_cast<std::uint32_t*>(rans::decoding_table()), {kBytes}, at::kByte);
      table = here.to(c10::Device(c10::kCUDA, number));
    }
    c10::cuda::CUDAStream recorder;
    std::vector<c10::cuda::CUDAStream> streams;
    at::Tensor table;  // the decoder's
  };

  Parts& parts() {
    std::call_once(made_, [&] {
      c10::cuda::CUDAGuard guard(number_);
      parts_.emplace(number_);
    });
    return *parts_;
  }
  cudaStream_t current() const { return c10::cuda::getCurrentCUDAStream(number_).stream(); }
  gpu::DeviceBatch with_table(gpu::DeviceBatch batch) {
    batch.table = reinterpret_cast<const std::uint32_t*>(parts().table.data_ptr<std::uint8_t>());
    return batch;
  }

  const c10::DeviceIndex number_;
  const std::string description_;
  std::once_flag made_;
  std::optional<Parts> parts_;
  std::atomic<unsigned> turn_ = 0;
};

}  // namespace

extern "C" {

__attribute__((visibility("default"))) extern const char* const imagecalc_device_build;
const char* const imagecalc_device_build = kPluginBuild;

__attribute__((visibility("default"))) Backends imagecalc_open_devices() {
  int count = 0;
  check_cuda(cudaGetDeviceCount(&count), "looking for devices");
  Backends backends;
  for (int number = 0; number < count; ++number) {
    cudaDeviceProp properties;
    check_cuda(cudaGetDeviceProperties(&properties, number), "asking a device what it is");
    backends.push_back(std::make_unique<CudaBackend>(number, properties));
  }
  return backends;
}
}

}  // namespace imagecalc
