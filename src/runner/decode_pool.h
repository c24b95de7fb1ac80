// Threads that help others with loops over independent items.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

namespace imagecalc {

class DecodePool {
 public:
  // threads: how many may be at one loop. Whoever asks is one of them, so with 1 there are no others.
  explicit DecodePool(int threads);
  ~DecodePool();
  DecodePool(const DecodePool&) = delete;
  DecodePool& operator=(const DecodePool&) = delete;

  // Calls work(first, end) for steps of so many items that together are 0 .. count, each once, in this thread and in
  // those that have nothing better to do. A single step wakes nobody. Rethrows the first exception, after which no further
  // step is begun. Several threads may ask at once.
  void for_each_step(std::size_t count, std::size_t step, const std::function<void(std::size_t, std::size_t)>& work);

 private:
  struct Loop;

  void help();
  static void run(Loop& loop);

  std::mutex mutex_;  // of what follows, and of the loops' helpers
  std::condition_variable wanted_, left_;
  std::list<Loop*> loops_;  // that have steps left; the next to be helped comes first
  bool ends_ = false;
  std::vector<std::jthread> helpers_;  // the last: they use the others
};

}  // namespace imagecalc
