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

  // How many recordings there are.
  int recordings() const { return *recordings_; }

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
    auto recording = std::make_unique<Repeated>(work, recordings_);
    recording->repeat();
    return recording;
  }
  bool answers() override { return false; }

 private:
  struct Point : Mark {
    const std::chrono::steady_clock::time_point time = std::chrono::steady_clock::now();
  };
  struct Repeated : Recording {
    Repeated(std::function<void()> what, std::shared_ptr<std::atomic<int>> among) : work(std::move(what)), all(std::move(among)) {
      ++*all;
    }
    ~Repeated() override { --*all; }
    void repeat() override { work(); }
    std::size_t bytes() const override { return 1 << 20; }
    const std::function<void()> work;
    const std::shared_ptr<std::atomic<int>> all;
  };

  const std::string name_;
  const std::shared_ptr<std::atomic<int>> recordings_ = std::make_shared<std::atomic<int>>(0);
};

}  // namespace imagecalc::test
