#include "runner/buffers.h"

#include <exception>

namespace imagecalc {

namespace {

// A buffer of so many times the size that is asked for is better left for a larger request.
constexpr std::size_t kFarTooLarge = 8;

}  // namespace

Buffers::Buffer::~Buffer() {
  if (owner_) owner_->give_back(std::move(floats_), size_);
}

Buffers::Buffer Buffers::take(std::size_t floats) {
  Buffer buffer;
  {
    std::lock_guard lock(mutex_);
    auto best = idle_.end();
    for (auto idle = idle_.begin(); idle != idle_.end(); ++idle) {
      const bool fits = idle->size_ >= floats && idle->size_ / kFarTooLarge <= floats;
      if (fits && (best == idle_.end() || idle->size_ < best->size_)) best = idle;
    }
    if (best != idle_.end()) {
      buffer = std::move(*best);
      idle_.erase(best);
      idle_floats_ -= buffer.size_;
    }
  }
  if (!buffer.floats_) {
    buffer.floats_ = std::make_unique_for_overwrite<float[]>(floats);
    buffer.size_ = floats;
  }
  buffer.owner_ = this;
  return buffer;
}

std::size_t Buffers::idle_bytes() const {
  std::lock_guard lock(mutex_);
  return idle_floats_ * sizeof(float);
}

// Those that were idle for longest make room. Without memory for the list it is freed.
void Buffers::give_back(std::unique_ptr<float[]> floats, std::size_t size) noexcept try {
  if (size == 0 || size > most_idle_) return;
  std::lock_guard lock(mutex_);
  while (idle_floats_ + size > most_idle_) {
    idle_floats_ -= idle_.front().size_;
    idle_.erase(idle_.begin());
  }
  Buffer idle;
  idle.floats_ = std::move(floats);
  idle.size_ = size;
  idle_.push_back(std::move(idle));
  idle_floats_ += size;
} catch (const std::exception&) {
}

}  // namespace imagecalc
