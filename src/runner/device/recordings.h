// The recordings that a device's plans keep. The memory of each is nobody else's as long as it is there.
#pragma once

#include <chrono>
#include <mutex>
#include <set>

#include "runner/device/device_guard.h"

namespace imagecalc {

// Several threads may use it at once.
class Recordings {
 public:
  class Keeper {
   public:
    virtual ~Keeper() = default;
    // Frees what it has recorded, unless that is at work. Whether there was anything.
    virtual bool drop_recording() = 0;
  };

  void add(Keeper& keeper) {
    std::lock_guard lock(mutex_);
    keepers_.insert(&keeper);
  }
  void remove(Keeper& keeper) {
    std::lock_guard lock(mutex_);
    keepers_.erase(&keeper);
  }

  // Whether that freed any memory.
  bool drop_all() {
    std::lock_guard lock(mutex_);
    if (Clock::now() < safe_until_) return false;
    bool any = false;
    for (Keeper* keeper : keepers_) any |= keeper->drop_recording();
    return any;
  }
  // What they were dropped for does not fit without them, either: it shall not cost all others their recordings again and again.
  void were_dropped_in_vain() {
    constexpr std::chrono::minutes kSafe{10};
    std::lock_guard lock(mutex_);
    safe_until_ = Clock::now() + kSafe;
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::mutex mutex_;
  std::set<Keeper*> keepers_;
  Clock::time_point safe_until_ = {};
};

// Runs work as guard_device() does; where the device's memory is too small for it, once more without recordings.
template <typename Work>
auto guard_memory(Backend& backend, Recordings& recordings, const Work& work) {
  try {
    return guard_device(backend, work);
  } catch (const Error& error) {
    if (error.fault() != Fault::out_of_memory || !guard_device(backend, [&] { return recordings.drop_all(); })) throw;
  }
  try {
    return guard_device(backend, work);
  } catch (const Error& error) {
    if (error.fault() == Fault::out_of_memory) recordings.were_dropped_in_vain();
    throw;
  }
}

}  // namespace imagecalc
