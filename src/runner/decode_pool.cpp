#include "runner/decode_pool.h"

#include <algorithm>

namespace imagecalc {

struct DecodePool::Loop {
  const std::size_t count, step;
  const std::function<void(std::size_t, std::size_t)>& work;
  std::atomic<std::size_t> next = 0;
  int helpers = 0;  // at work on it
  std::mutex mutex = {};
  std::exception_ptr failure = {};
};

DecodePool::DecodePool(int threads) {
  for (int i = 1; i < threads; ++i) helpers_.emplace_back([this] { help(); });
}

DecodePool::~DecodePool() {
  std::lock_guard lock(mutex_);
  ends_ = true;
  wanted_.notify_all();
}

void DecodePool::for_each_step(std::size_t count, std::size_t step,
                               const std::function<void(std::size_t, std::size_t)>& work) {
  Loop loop{.count = count, .step = step, .work = work};
  const std::size_t others = std::min(helpers_.size(), (count + step - 1) / step - (count > 0));
  if (others == 0) {
    run(loop);
  } else {
    std::unique_lock lock(mutex_);
    const auto place = loops_.insert(loops_.end(), &loop);
    lock.unlock();
    for (std::size_t i = 0; i < others; ++i) wanted_.notify_one();
    run(loop);
    lock.lock();
    loops_.erase(place);
    left_.wait(lock, [&] { return loop.helpers == 0; });
  }
  if (loop.failure) std::rethrow_exception(loop.failure);
}

// Loops take turns: of several each gets its helpers.
void DecodePool::help() {
  std::unique_lock lock(mutex_);
  auto has_work = [](const Loop* loop) { return loop->next < loop->count; };
  while (true) {
    auto place = loops_.end();
    wanted_.wait(lock, [&] {
      place = std::find_if(loops_.begin(), loops_.end(), has_work);
      return ends_ || place != loops_.end();
    });
    if (ends_) return;
    Loop& loop = **place;
    loops_.splice(loops_.end(), loops_, place);
    ++loop.helpers;
    lock.unlock();
    run(loop);
    lock.lock();
    if (--loop.helpers == 0) left_.notify_all();
  }
}

void DecodePool::run(Loop& loop) try {
  for (std::size_t first; (first = loop.next.fetch_add(loop.step)) < loop.count;) {
    loop.work(first, std::min(loop.count, first + loop.step));
  }
} catch (...) {
  loop.next = loop.count;
  std::lock_guard lock(loop.mutex);
  if (!loop.failure) loop.failure = std::current_exception();
}

}  // namespace imagecalc
