// Shares the machine's cores between the models that run at the same time.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace imagecalc {

class Cores {
 public:
  explicit Cores(int count) : count_(std::max(1, count)) {}

  int count() const { return count_; }

  // A place among those who may run; threads() says how many threads it may use. Turns come in the order in which they were
  // asked for: whoever asks again and again cannot keep the others out.
  class Turn {
   public:
    explicit Turn(Cores& cores) : cores_(cores), threads_(cores.begin()) {}
    ~Turn() { cores_.end(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    int threads() const { return threads_; }

   private:
    Cores& cores_;
    const int threads_;
  };

 private:
  int begin() {
    std::unique_lock lock(mutex_);
    const std::uint64_t ticket = tickets_++;
    changed_.wait(lock, [&] { return ticket < ended_ + static_cast<std::uint64_t>(count_); });
    return std::max(1, count_ / ++running_);
  }
  void end() {
    std::lock_guard lock(mutex_);
    ++ended_;
    --running_;
    changed_.notify_all();
  }

  const int count_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t tickets_ = 0, ended_ = 0;
  int running_ = 0;
};

}  // namespace imagecalc
