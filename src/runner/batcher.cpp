#include "runner/batcher.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace imagecalc {

namespace {

// How long a session is remembered after its last answer.
constexpr std::chrono::seconds kMemory{1};

std::size_t floats_of(const BatchRequest& request) {
  return request.batch.images * std::size_t{3} * static_cast<std::size_t>(request.size.height) *
         static_cast<std::size_t>(request.size.width);
}

// The model's scores and the time that they took.
BatchAnswer run_model(const BatchRequest& request, int threads) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  auto scores = std::make_shared<const Scores>(request.model.run(request.batch, request.size, threads, request.wish));
  const DeviceTimes device = scores->device;
  return {std::move(scores), 0, std::chrono::duration<float, std::micro>(Clock::now() - start).count(), device};
}

}  // namespace

BatchAnswer Batcher::run(const BatchRequest& request) {
  if (is_large(request)) return run_alone(request);
  Slot slot{request};
  std::unique_lock lock(mutex_);
  auto group = join(slot);
  slot.changed.wait(lock, [&] { return slot.state != State::waiting; });
  if (slot.state == State::leads) {
    lock.unlock();
    lead(group, slot);
  } else {
    lock.unlock();
  }
  return slot.state == State::alone ? run_alone(request) : std::move(slot.answer);
}

BatchAnswer Batcher::run_alone(const BatchRequest& request) {
  Cores::Turn turn(processor_of(request));
  return run_model(request, turn.threads());
}

std::size_t Batcher::waiting() const {
  std::lock_guard lock(mutex_);
  std::size_t count = 0;
  for (const auto& [key, group] : groups_) count += group.waiting.size();
  return count;
}

bool Batcher::is_large(const BatchRequest& request) {
  return request.batch.images >= kLargeImages || floats_of(request) >= kMaxFloats / 4;
}

Cores& Batcher::processor_of(const BatchRequest& request) {
  return request.wish.device == kCpu ? cores_ : devices_.at(static_cast<std::size_t>(request.wish.device));
}

// The mutex is held. Whoever finds nobody waiting leads.
Batcher::Groups::iterator Batcher::join(Slot& slot) {
  const BatchRequest& request = slot.request;
  const Key key{&request.model, request.size.height, request.size.width, request.wish, !request.batch.sent.empty()};
  auto group = groups_.find(key);
  if (group == groups_.end()) {
    sweep();
    group = groups_.try_emplace(key).first;
  }
  Group& here = group->second;
  if (batch_wait_.count() > 0) welcome(here, request.session);
  here.waiting.push_back(&slot);
  here.images += request.batch.images;
  if (!here.led) {
    slot.state = State::leads;
  } else if (here.images >= kMaxImages || company_until(here) <= Clock::now()) {
    here.waiting.front()->changed.notify_one();
  }
  here.led = true;
  return group;
}

// The mutex is held. A session is waited for as soon as it has come twice in quick succession.
void Batcher::welcome(Group& group, const void* session) {
  const auto now = Clock::now();
  auto [place, is_new] = group.visitors.try_emplace(session);
  Visitor& visitor = place->second;
  const auto gap = now - visitor.answered;
  visitor.here = true;
  visitor.patience = is_new || gap > batch_wait_ ? Clock::duration{} : std::min<Clock::duration>(2 * gap, batch_wait_);
  if (is_new) std::erase_if(group.visitors, [&](const auto& entry) { return is_forgotten(entry.second, now); });
}

bool Batcher::is_forgotten(const Visitor& visitor, Clock::time_point now) {
  return !visitor.here && now - visitor.answered > kMemory;
}

// The mutex is held. Groups that only remember are kept for a while: there are few, one a model and tensor size.
void Batcher::sweep() {
  const auto now = Clock::now();
  std::erase_if(groups_, [&](const auto& entry) {
    const Group& group = entry.second;
    return !group.led && group.running == 0 &&
           std::all_of(group.visitors.begin(), group.visitors.end(),
                       [&](const auto& visitor) { return is_forgotten(visitor.second, now); });
  });
}

// The mutex is held. When nobody is waited for any more: in the past where all are there.
Batcher::Clock::time_point Batcher::company_until(const Group& group) {
  Clock::time_point last = {};
  for (const auto& [session, visitor] : group.visitors) {
    if (!visitor.here) last = std::max(last, visitor.leave());
  }
  return last;
}

void Batcher::wait_for_company(Group& group, Slot& leader) {
  std::unique_lock lock(mutex_);
  for (Clock::time_point until; group.images < kMaxImages && (until = company_until(group)) > Clock::now();) {
    leader.changed.wait_until(lock, until);
  }
}

// Runs what has gathered by the time there is a turn; the leader's own request is the first of it.
void Batcher::lead(Groups::iterator group, Slot& leader) {
  Slots batch;
  std::exception_ptr failure;
  {
    Cores::Turn turn(processor_of(leader.request));
    wait_for_company(group->second, leader);
    batch = take(group->second);
    try {
      compute(batch, turn.threads());
    } catch (...) {
      failure = std::current_exception();
    }
  }
  const bool was_alone = batch.size() == 1;
  settle(group, batch, failure ? State::alone : State::answered);
  if (failure && was_alone) std::rethrow_exception(failure);
}

// As many as fit, and one at least. The first of the others leads next.
Batcher::Slots Batcher::take(Group& group) {
  std::lock_guard lock(mutex_);
  Slots batch, rest;
  std::size_t images = 0, floats = 0, in_pieces = 0;
  while (!group.waiting.empty()) {
    const BatchRequest& next = group.waiting.front()->request;
    if (images > 0 && (images + next.batch.images > kMaxImages || floats + floats_of(next) > kMaxFloats)) break;
    images += next.batch.images;
    floats += floats_of(next);
    rest.splice(rest.end(), group.waiting, group.waiting.begin());
    if (images % kPiece == 0) {
      batch.splice(batch.end(), rest);
      in_pieces = images;
    }
  }
  if (in_pieces > 0 && images - in_pieces <= kPiece / 2) {
    group.waiting.splice(group.waiting.begin(), rest);
    images = in_pieces;
  }
  batch.splice(batch.end(), rest);
  group.images -= images;
  group.running += batch.size();
  group.led = !group.waiting.empty();
  if (group.led) {
    group.waiting.front()->state = State::leads;
    group.waiting.front()->changed.notify_one();
  }
  return batch;
}

void Batcher::compute(Slots& batch, int threads) {
  if (batch.size() == 1) {
    batch.front()->answer = run_model(batch.front()->request, threads);
  } else {
    run_together(batch, threads);
  }
}

void Batcher::run_together(Slots& batch, int threads) {
  std::size_t images = 0;
  for (const Slot* slot : batch) images += slot->request.batch.images;
  const bool is_sent = !batch.front()->request.batch.sent.empty();
  const BatchAnswer answer = is_sent ? run_sent(batch, images, threads) : run_tensors(batch, images, threads);
  std::size_t first = 0;
  for (Slot* slot : batch) {
    const std::size_t own = slot->request.batch.images;
    const float share = static_cast<float>(own) / static_cast<float>(images);
    slot->answer = {answer.scores, first, share * answer.model_us, share * answer.device};
    first += own;
  }
}

BatchAnswer Batcher::run_tensors(const Slots& batch, std::size_t images, int threads) {
  BatchRequest all = batch.front()->request;
  all.batch.images = images;
  Buffers::Buffer tensors = buffers_.take(floats_of(all));
  all.batch.tensors = tensors.data();
  float* end = tensors.data();
  for (const Slot* slot : batch) end = std::copy_n(slot->request.batch.tensors, floats_of(slot->request), end);
  return run_model(all, threads);
}

BatchAnswer Batcher::run_sent(const Slots& batch, std::size_t images, int threads) {
  std::vector<SentImages*> parts;
  for (const Slot* slot : batch) parts.insert(parts.end(), slot->request.batch.sent.begin(), slot->request.batch.sent.end());
  BatchRequest all = batch.front()->request;
  all.batch = {parts, images};
  return run_model(all, threads);
}

// Wakes the others: from here on their slots are theirs. Under the lock, as a slot goes when its owner has seen the state.
void Batcher::settle(Groups::iterator group, const Slots& batch, State state) {
  const auto now = Clock::now();
  std::lock_guard lock(mutex_);
  Group& here = group->second;
  here.running -= batch.size();
  for (Slot* slot : batch) {
    if (auto visitor = here.visitors.find(slot->request.session); visitor != here.visitors.end()) {
      visitor->second.here = false;
      visitor->second.answered = now;
    }
    slot->state = state;
    slot->changed.notify_one();
  }
  if (!here.led && here.running == 0 && here.visitors.empty()) groups_.erase(group);
}

}  // namespace imagecalc
