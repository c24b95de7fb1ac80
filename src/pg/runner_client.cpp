#include "pg/runner_client.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <deque>
#include <fstream>

#include "pg/channel.h"
#include "pg/settings.h"
#include "pg/wall.h"

namespace imagecalc {

struct PendingReply::Place {
  enum class State { waiting, answered, lost, not_begun };  // lost, not_begun: the conversation ended before the reply came
  State state = State::waiting;
  Message reply = Done{};
};

namespace {

using State = PendingReply::Place::State;

constexpr int kStartTimeoutMs = 60'000;  // LibTorch alone takes a second to map, more on a cold disk
constexpr int kRetryMs = 10;
constexpr int kReplaceTimeoutMs = 8'000;  // the supervisor needs a second to be sure that another runner is installed

struct SessionState {
  Channel channel;
  std::deque<std::shared_ptr<PendingReply::Place>> waiting;  // in the order of their requests
  std::chrono::nanoseconds last_wait{0};                     // for the scores of one image
  bool alone = false;                                        // no other session asks the runner for scores
};
// Kept for the life of the session.
SessionState session;

int try_connect() {
  const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) throw Error(Fault::unavailable, std::string("could not create a socket: ") + strerror(errno));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strlcpy(address.sun_path, kSocketPath, sizeof address.sun_path);
  if (connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return descriptor;
  const int reason = errno;
  close(descriptor);
  if (reason == ENOENT || reason == ECONNREFUSED || reason == EAGAIN) return -1;
  throw Error(Fault::unavailable, std::string("could not connect to imagecalc-runner: ") + strerror(reason));
}

// A supervisor is at work as long as it holds its lock; asking does not take it.
bool supervisor_is_up() {
  const int descriptor = open(kLockPath, O_RDWR | O_CLOEXEC);
  if (descriptor < 0) return false;
  struct flock query {};
  query.l_type = F_WRLCK;
  query.l_whence = SEEK_SET;
  const bool held = fcntl(descriptor, F_OFD_GETLK, &query) == 0 && query.l_type != F_UNLCK;
  close(descriptor);
  return held;
}

// It looks whether another runner has been installed. Its process id is in its lock file.
void wake_supervisor() {
  std::ifstream file(kLockPath);
  pid_t pid = 0;
  if (supervisor_is_up() && file >> pid && pid > 1) kill(pid, SIGHUP);
}

BackgroundWorkerHandle* register_supervisor() {
  BackgroundWorker worker{};
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
  worker.bgw_start_time = BgWorkerStart_ConsistentState;
  worker.bgw_restart_time = BGW_NEVER_RESTART;  // the next session that needs it starts it
  strlcpy(worker.bgw_library_name, "imagecalc", BGW_MAXLEN);
  strlcpy(worker.bgw_function_name, "imagecalc_supervisor_main", BGW_MAXLEN);
  strlcpy(worker.bgw_name, "imagecalc supervisor", BGW_MAXLEN);
  strlcpy(worker.bgw_type, "imagecalc supervisor", BGW_MAXLEN);
  BackgroundWorkerHandle* handle = nullptr;
  if (!pg([&] { return RegisterDynamicBackgroundWorker(&worker, &handle); }))
    throw Error(Fault::unavailable, "no background worker slot is free for the imagecalc supervisor",
                "Raise max_worker_processes, or wait until a worker ends.");
  return handle;
}

void pause() {
  pg([] {
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kRetryMs, PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
  });
  check_for_interrupts();
}

// Starts a supervisor where there is none. Several sessions may do so at once: one of their supervisors gets the lock, the
// others leave.
void ensure_supervisor(BackgroundWorkerHandle*& handle) {
  if (supervisor_is_up()) return;
  if (!handle) {
    handle = register_supervisor();
    return;
  }
  pid_t pid;
  if (pg([&] { return GetBackgroundWorkerPid(handle, &pid); }) == BGWH_STOPPED && !supervisor_is_up())
    throw Error(Fault::unavailable, "imagecalc-runner could not be started", "The server's log says why.");
}

// Whether a runner answers on a new connection. One that is about to end may still accept it.
bool try_greet() {
  const int descriptor = try_connect();
  if (descriptor < 0) return false;
  session.channel = Channel(descriptor);
  try {
    session.channel.post(Hello{});
    const Message reply = session.channel.receive();
    if (const Failure* failure = std::get_if<Failure>(&reply)) throw_failure(*failure);
    return true;
  } catch (const Error& error) {
    session.channel.close();
    if (error.fault() != Fault::unavailable) throw;
    return false;
  } catch (...) {
    session.channel.close();
    throw;
  }
}

// After this those who still wait are told that the runner is gone.
void drop_conversation(State fate = State::lost) noexcept {
  session.channel.close();
  for (const auto& place : session.waiting) place->state = fate;
  session.waiting.clear();
}

// Takes what has come. Does not wait.
void take_replies() try {
  while (!session.waiting.empty()) {
    auto reply = session.channel.poll();
    if (!reply) return;
    if (std::holds_alternative<Leaving>(*reply)) return drop_conversation(State::not_begun);
    PendingReply::Place& place = *session.waiting.front();
    place.reply = std::move(*reply);
    place.state = State::answered;
    session.waiting.pop_front();
  }
} catch (const Error&) {
  drop_conversation();
  throw;
}

// Waits for what a runner that takes no more has yet to say.
void hear_out() try {
  while (!session.waiting.empty()) {
    take_replies();
    if (!session.waiting.empty()) session.channel.wait();
  }
  drop_conversation();
} catch (const Error& error) {
  if (error.fault() != Fault::unavailable) throw;  // else those who wait know
}

bool is_connected() { return session.channel.is_open() && (!session.waiting.empty() || !session.channel.is_stale()); }

void ensure_connected() {
  if (is_connected()) return;
  BackgroundWorkerHandle* handle = nullptr;
  for (int waited = 0; waited < kStartTimeoutMs; waited += kRetryMs) {
    try {
      if (try_greet()) return;
    } catch (const Error& error) {  // after an upgrade the runner may be of the old version still
      if (error.fault() != Fault::protocol || waited >= kReplaceTimeoutMs) throw;
      if (waited == 0) wake_supervisor();
    }
    ensure_supervisor(handle);
    pause();
  }
  throw Error(Fault::unavailable, "imagecalc-runner did not start in time", "The server's log may say why.");
}

// One image's scores often take less time than to go to sleep and wake up. A lone session therefore waits for them awake while they
// are due, going by the last ones. Before, and where others are at work, it would only take a core from them: two virtual cores are
// often one.
class AwakeWait {
 public:
  explicit AwakeWait(const Message& request) {
    const auto* scores = std::get_if<InferRequest>(&request);
    is_for_one_ = scores && scores->items.size() == 1;
  }
  // False where it is time to sleep for good.
  bool wait() {
    const std::chrono::microseconds margin(setting_awake_wait);
    const auto now = Clock::now(), due = begin_ + session.last_wait;
    const auto left = std::max(due, begin_ + margin) + margin - now;
    if (!is_for_one_ || !session.alone || !session.channel.has_sent_all() || margin.count() == 0 || left.count() <= 0) return false;
    if (now < due - margin) {
      session.channel.wait_briefly(std::min<Clock::duration>(due - margin - now, kLongestNap));
    } else {
      session.channel.wait_awake(left);
    }
    return true;
  }
  void end(const Message& reply) {
    if (is_for_one_) session.last_wait = Clock::now() - begin_;
    if (const auto* scores = std::get_if<InferReply>(&reply)) session.alone = scores->alone;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kLongestNap{20};  // after which a cancel is seen
  const Clock::time_point begin_ = Clock::now();
  bool is_for_one_;
};

}  // namespace

void throw_failure(const Failure& failure) { throw Error(failure.fault, failure.message, failure.hint); }

PendingReply::PendingReply(const Message& request) { post(request); }

// A runner that is about to end takes no request any more: once it has answered those that it took, another one will.
void PendingReply::post(const Message& request) {
  constexpr int kTries = 5;
  for (int tries = 1;; ++tries) {
    ensure_connected();
    place_ = std::make_shared<Place>();
    session.waiting.push_back(place_);
    try {
      session.channel.post(request);
      return;
    } catch (const Error& error) {
      session.waiting.pop_back();
      if (error.fault() != Fault::unavailable || tries == kTries) throw;
    } catch (...) {
      drop_conversation();
      throw;
    }
    hear_out();
  }
}

PendingReply::~PendingReply() {
  if (!place_) return;
  place_.reset();
  const bool given_up = std::all_of(session.waiting.begin(), session.waiting.end(),
                                    [](const auto& place) { return place.use_count() == 1; });
  if (given_up && !session.waiting.empty()) drop_conversation();
}

Message PendingReply::wait(const Message& request) {
  AwakeWait awake(request);
  while (place_->state == State::waiting || place_->state == State::not_begun) {
    if (place_->state == State::not_begun) post(request);
    take_replies();
    if (place_->state == State::waiting && !awake.wait()) session.channel.wait();
  }
  awake.end(place_->reply);
  if (place_->state == State::lost)
    throw Error(Fault::unavailable, "imagecalc-runner ended while it was at work",
                "The server's log says why. Try again: it is started anew.");
  if (const Failure* failure = std::get_if<Failure>(&place_->reply)) throw_failure(*failure);
  return std::move(place_->reply);
}

bool runner_is_up() { return is_connected() || try_greet(); }

void push_requests() noexcept { session.channel.try_push(); }

Message ask_runner(const Message& request) { return PendingReply(request).wait(request); }

}  // namespace imagecalc
