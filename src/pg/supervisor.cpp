// The background worker "imagecalc supervisor": one a server. It starts the serving runner, starts it again when it dies, and
// ends it when it ends itself. It has no database connection (one would block DROP DATABASE) and touches no shared memory.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "pg/process.h"
#include "pg/runner_client.h"
#include "pg/settings.h"
#include "pg/wall.h"

using namespace imagecalc;

extern "C" PGDLLEXPORT void imagecalc_supervisor_main(Datum);

namespace {

constexpr int kGraceMs = 2'000;
constexpr int kFirstBackoffMs = 100;
constexpr int kLastBackoffMs = 30'000;
constexpr int kHealthyMs = 10'000;  // a runner that lived so long is started again at once
constexpr int kQuickDeaths = 5;     // in a row: then the runner cannot work, and sessions are told so

// Held as long as this process lives. Nothing if another supervisor has it.
bool take_lock() {
  const int descriptor = open(kLockPath, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) throw Error(Fault::unavailable, std::string("could not open ") + kLockPath + ": " + strerror(errno));
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (fcntl(descriptor, F_OFD_SETLK, &lock) == 0) return true;  // never closed
  close(descriptor);
  return false;
}

void wake(SIGNAL_ARGS) {
  const int saved = errno;
  (void)postgres_signal_arg;
  SetLatch(MyLatch);
  errno = saved;
}

// What a running runner can no longer change.
struct RunnerSettings {
  int threads = setting_runner_threads;
  int decode_threads = setting_decode_threads;
  int model_cache = setting_model_cache;
  int idle_timeout = setting_runner_idle_timeout;
  int batch_wait = setting_batch_wait;

  bool operator==(const RunnerSettings&) const = default;
};

class ServingRunner {
 public:
  ServingRunner() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw Error(Fault::unavailable, std::string("could not create a pipe: ") + strerror(errno));
    lifeline_ = ends[1];
    started_ = GetCurrentTimestamp();
    constexpr std::int64_t kMegabyte = 1 << 20;
    pid_ = spawn_runner({"--serve", "--socket", kSocketPath, "--lifeline", "3", "--threads",
                         std::to_string(resolve_threads(settings_.threads)), "--decode-threads",
                         std::to_string(settings_.decode_threads), "--cache-bytes",
                         std::to_string(settings_.model_cache * kMegabyte), "--idle-timeout",
                         std::to_string(settings_.idle_timeout), "--batch-wait",
                         std::to_string(settings_.batch_wait)},
                        {.in = -1, .out = -1, .lifeline = ends[0]});
    close(ends[0]);
  }
  ~ServingRunner() {
    if (pid_ > 0) end_runner(pid_, kGraceMs);
    close(lifeline_);
  }
  ServingRunner(const ServingRunner&) = delete;
  ServingRunner& operator=(const ServingRunner&) = delete;

  bool has_died(int* status) {
    if (!has_ended(pid_, status)) return false;
    pid_ = -1;
    return true;
  }
  bool is_outdated() const { return settings_ != RunnerSettings(); }
  bool was_healthy() const { return TimestampDifferenceExceeds(started_, GetCurrentTimestamp(), kHealthyMs); }

 private:
  pid_t pid_ = -1;
  int lifeline_ = -1;
  const RunnerSettings settings_;
  TimestampTz started_ = 0;
};

void sleep_until_woken(long timeout_ms) {
  pg([&] {
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout_ms, PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
  });
  check_for_interrupts();
  if (ConfigReloadPending) {
    ConfigReloadPending = false;
    pg([] { ProcessConfigFile(PGC_SIGHUP); });
  }
}

enum class End { wanted, idle, death };

// Watches one runner to its end, or until this process is to end or a setting changes.
End watch(ServingRunner& runner) {
  while (!ShutdownRequestPending && !runner.is_outdated()) {
    int status;
    if (runner.has_died(&status)) {
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return End::idle;
      const std::string how = describe_exit(status);
      pg([&] { ereport(LOG, (errmsg("imagecalc-runner %s", how.c_str()))); });
      return End::death;
    }
    sleep_until_woken(60'000);
  }
  return End::wanted;
}

void supervise() {
  if (!take_lock()) return;
  int backoff_ms = kFirstBackoffMs;
  for (int deaths = 0; !ShutdownRequestPending && deaths < kQuickDeaths;) {
    ServingRunner runner;
    const End end = watch(runner);
    if (end == End::idle) return;  // the next session that needs a runner starts all anew
    if (end == End::wanted) continue;
    if (runner.was_healthy()) {
      deaths = 0;
      backoff_ms = kFirstBackoffMs;
      continue;
    }
    ++deaths;
    sleep_until_woken(backoff_ms);
    backoff_ms = std::min(2 * backoff_ms, kLastBackoffMs);
  }
}

}  // namespace

void imagecalc_supervisor_main(Datum) {
  pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGCHLD, wake);
  BackgroundWorkerUnblockSignals();
  wall([] { supervise(); });
}
