// The CPU as a device: what the kernels do is done by the reference code of src/gpu, at once.
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include "gpu/host.h"
#include "runner/device/backend.h"

namespace imagecalc::test {

class HostBackend : public Backend {
 public:
  explicit HostBackend(std::string name) : name_(std::move(name)) {}

  c10::Device place() const override { return c10::kCPU; }
  std::string name() const override { return name_; }
  std::string description() const override { return "the CPU"; }

  c10::Stream next_stream() override { return c10::Stream(c10::Stream::DEFAULT, place()); }
  at::Tensor staging(std::int64_t bytes) override { return at::empty(bytes, at::kByte); }

  std::shared_ptr<Mark> mark() override { return std::make_shared<Point>(); }
  void follow(const Mark&) override {}
  void keep_for_current_stream(const at::Tensor&) override {}
  void decode(const gpu::DeviceBatch& batch, const gpu::BatchLayout& layout) override { gpu::decode_on_host(batch, layout); }
  void place(const gpu::DeviceBatch& batch, const gpu::BatchLayout& layout, const gpu::Affine& affine, gpu::Order order,
             gpu::NumberKind kind, void* tensors) override {
    gpu::place_on_host(batch, layout, affine, order, kind, tensors);
  }

  void wait(const Mark&) override {}
  float us_between(const Mark& begin, const Mark& end) override {
    const auto taken = static_cast<const Point&>(end).time - static_cast<const Point&>(begin).time;
    return std::chrono::duration<float, std::micro>(taken).count();
  }

  std::unique_ptr<Recording> record(const std::function<void()>& work) override {
    auto recording = std::make_unique<Repeated>(work);
    recording->repeat();
    return recording;
  }

 private:
  struct Point : Mark {
    const std::chrono::steady_clock::time_point time = std::chrono::steady_clock::now();
  };
  struct Repeated : Recording {
    explicit Repeated(std::function<void()> what) : work(std::move(what)) {}
    void repeat() override { work(); }
    const std::function<void()> work;
  };

  const std::string name_;
};

}  // namespace imagecalc::test
