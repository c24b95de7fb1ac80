// The recordings that a device's plans keep. The memory of each is nobody else's as long as it is there.
#pragma once

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
    bool any = false;
    for (Keeper* keeper : keepers_) any |= keeper->drop_recording();
    return any;
  }

 private:
  std::mutex mutex_;
  std::set<Keeper*> keepers_;
};

// Runs work as guard_device() does; where the device's memory is too small for it, once more without recordings.
template <typename Work>
auto guard_memory(Backend& backend, Recordings& recordings, const Work& work) {
  try {
    return guard_device(backend, work);
  } catch (const Error& error) {
    if (error.fault() != Fault::out_of_memory || !recordings.drop_all()) throw;
  }
  return guard_device(backend, work);
}

}  // namespace imagecalc
