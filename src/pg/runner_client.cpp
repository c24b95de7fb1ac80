#include "pg/runner_client.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "pg/channel.h"
#include "pg/wall.h"

namespace imagecalc {
namespace {

constexpr int kStartTimeoutMs = 60'000;  // LibTorch alone takes a second to map, more on a cold disk
constexpr int kRetryMs = 10;

// Kept for the life of the session. Busy between a request and its reply: a conversation that an ERROR cut off is not resumed.
struct Session {
  Channel channel;
  bool busy = false;
};
Session session;

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

Message converse(const Message& request) {
  session.busy = true;
  session.channel.send(request);
  Message reply = session.channel.receive();
  session.busy = false;
  return reply;
}

// Whether a runner answers on a new connection. One that is about to end may still accept it.
bool try_greet() {
  const int descriptor = try_connect();
  if (descriptor < 0) return false;
  session.channel = Channel(descriptor);
  try {
    const Message reply = converse(Hello{});
    if (const Failure* failure = std::get_if<Failure>(&reply)) {
      session.channel.close();
      throw_failure(*failure);
    }
    return true;
  } catch (const Error& error) {
    if (error.fault() != Fault::unavailable) throw;
    return false;
  }
}

void ensure_connected() {
  if (session.channel.is_open() && !session.busy && !session.channel.is_stale()) return;
  BackgroundWorkerHandle* handle = nullptr;
  for (int waited = 0; waited < kStartTimeoutMs; waited += kRetryMs) {
    if (try_greet()) return;
    ensure_supervisor(handle);
    pause();
  }
  throw Error(Fault::unavailable, "imagecalc-runner did not start in time", "The server's log may say why.");
}

}  // namespace

void throw_failure(const Failure& failure) { throw Error(failure.fault, failure.message, failure.hint); }

Message ask_runner(const Message& request) {
  ensure_connected();
  Message reply = converse(request);
  if (const Failure* failure = std::get_if<Failure>(&reply)) throw_failure(*failure);
  return reply;
}

}  // namespace imagecalc
