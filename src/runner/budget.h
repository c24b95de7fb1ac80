// The memory that the requests at hand may take together.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <utility>

#include "format/error.h"

namespace imagecalc {

// Several threads may use it at once. It outlives its shares.
class Budget {
 public:
  // Given back when it goes.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept { swap(other); }
    Share& operator=(Share&& other) noexcept {
      Share taken(std::move(other));
      swap(taken);
      return *this;
    }
    ~Share();

   private:
    friend class Budget;
    Share(Budget& budget, std::size_t bytes) : budget_(&budget), bytes_(bytes) {}
    void swap(Share& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(bytes_, other.bytes_);
    }

    Budget* budget_ = nullptr;
    std::size_t bytes_ = 0;
  };

  // So little is always given, and not counted: a message without images, or with a small one.
  static constexpr std::size_t kUncounted = std::size_t{16} << 10;

  // patience: how long to wait without anybody giving back a share.
  Budget(std::size_t bytes, std::chrono::milliseconds patience) : bytes_(bytes), patience_(patience) {}

  // Waits for room, in the order of asking. A share larger than the whole budget is given once there is no other. Throws
  // Error(overloaded) when nothing was given back for too long, and Error(cancelled).
  Share take(std::size_t bytes, const Interrupt& interrupt);

  std::size_t used() const;
  std::uint64_t refused() const;  // how many were refused since the last reset
  void reset_refused();

 private:
  using Clock = std::chrono::steady_clock;

  bool has_room(std::size_t bytes) const { return used_ == 0 || (bytes <= bytes_ && used_ <= bytes_ - bytes); }
  void give_back(std::size_t bytes) noexcept;

  const std::size_t bytes_;
  const std::chrono::milliseconds patience_;
  mutable std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::list<int> queue_;  // a place for each who waits
  std::size_t used_ = 0;
  std::uint64_t refused_ = 0;
  Clock::time_point last_return_ = Clock::now();
};

}  // namespace imagecalc
