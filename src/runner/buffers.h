// Memory for tensors that goes round: new memory costs a page fault for every 4 kB.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace imagecalc {

// What nobody uses is kept for the next who asks, up to a number of bytes; the rest is freed. Several threads may use it at
// once. It outlives its buffers.
class Buffers {
 public:
  // A number of floats, not initialised. It goes back by itself.
  class Buffer {
   public:
    Buffer() = default;
    Buffer(Buffer&& other) noexcept { swap(other); }
    Buffer& operator=(Buffer&& other) noexcept {
      Buffer taken(std::move(other));
      swap(taken);
      return *this;
    }
    ~Buffer();

    float* data() { return floats_.get(); }
    const float* data() const { return floats_.get(); }
    std::size_t size() const { return size_; }  // what was asked for, or more

   private:
    friend class Buffers;
    void swap(Buffer& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(floats_, other.floats_);
      std::swap(size_, other.size_);
    }

    Buffers* owner_ = nullptr;
    std::unique_ptr<float[]> floats_;
    std::size_t size_ = 0;
  };

  explicit Buffers(std::size_t most_idle_bytes = std::size_t{64} << 20) : most_idle_(most_idle_bytes / sizeof(float)) {}

  // The smallest idle one that has so many floats, unless it is far too large; else a new one.
  Buffer take(std::size_t floats);

  std::size_t idle_bytes() const;

 private:
  void give_back(std::unique_ptr<float[]> floats, std::size_t size) noexcept;

  const std::size_t most_idle_;  // floats
  mutable std::mutex mutex_;     // of what follows
  std::vector<Buffer> idle_;     // without an owner; the one that came back last comes last
  std::size_t idle_floats_ = 0;
};

}  // namespace imagecalc
