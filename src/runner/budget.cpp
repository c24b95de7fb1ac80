#include "runner/budget.h"

#include <algorithm>

namespace imagecalc {

namespace {

// How often who waits looks whether it is still wanted.
constexpr std::chrono::milliseconds kLook{50};

}  // namespace

Budget::Share::~Share() {
  if (budget_) budget_->give_back(bytes_);
}

Budget::Share Budget::take(std::size_t bytes, const Interrupt& interrupt) {
  if (bytes <= kUncounted) return {};
  std::unique_lock lock(mutex_);
  const auto place = queue_.insert(queue_.end(), 0);
  const auto begin = Clock::now();
  auto is_next = [&] { return place == queue_.begin() && has_room(bytes); };
  bool has_patience = true;
  while (!is_next() && has_patience && !interrupt.requested()) {
    changed_.wait_for(lock, std::min(kLook, patience_));
    has_patience = Clock::now() - std::max(begin, last_return_) <= patience_;
  }
  const bool granted = is_next();
  queue_.erase(place);
  changed_.notify_all();  // the next in the queue
  if (!granted) {
    interrupt.check();
    ++refused_;
    throw Error(Fault::overloaded, "imagecalc-runner has more requests at hand than it may hold",
                "Raise imagecalc.runner_memory, or run fewer queries at a time.");
  }
  used_ += bytes;
  return Share(*this, bytes);
}

std::size_t Budget::used() const {
  std::lock_guard lock(mutex_);
  return used_;
}

std::uint64_t Budget::refused() const {
  std::lock_guard lock(mutex_);
  return refused_;
}

void Budget::reset_refused() {
  std::lock_guard lock(mutex_);
  refused_ = 0;
}

void Budget::give_back(std::size_t bytes) noexcept {
  std::lock_guard lock(mutex_);
  used_ -= bytes;
  last_return_ = Clock::now();
  changed_.notify_all();
}

}  // namespace imagecalc
