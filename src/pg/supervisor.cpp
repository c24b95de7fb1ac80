// The background worker "imagecalc supervisor": one a server. It starts the serving runner, starts it again when it dies, and
// ends it when it ends itself, or when another one has been installed. It has no database connection (one would block DROP
// DATABASE) and touches no shared memory.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <tuple>

#include "pg/process.h"
#include "pg/runner_client.h"
#include "pg/settings.h"
#include "pg/wall.h"

using namespace imagecalc;

extern "C" PGDLLEXPORT void imagecalc_supervisor_main(Datum);

namespace {

constexpr int kGraceMs = 2'000;
constexpr int kDrainMs = 35'000;  // a runner gives those who asked it half a minute
constexpr int kLookMs = 3'000;    // how often to look what is installed
constexpr int kSettleMs = 1'000;  // files that have not changed for so long are installed completely
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
  if (fcntl(descriptor, F_OFD_SETLK, &lock) != 0) {
    close(descriptor);
    return false;
  }
  const std::string pid = std::to_string(getpid()) + "\n";  // for those who want this process to look around
  if (ftruncate(descriptor, 0) != 0 || write(descriptor, pid.data(), pid.size()) < 0)
    throw Error(Fault::unavailable, std::string("could not write ") + kLockPath + ": " + strerror(errno));
  return true;  // never closed
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
  int memory = setting_runner_memory;
  int idle_timeout = setting_runner_idle_timeout;
  int batch_wait = setting_batch_wait;

  bool operator==(const RunnerSettings&) const = default;
};

// The runner's program and libraries and the extension's library, as they are installed.
class InstalledFiles {
 public:
  InstalledFiles() {
    const std::filesystem::path folder(pkglib_path);
    add(runner_path());
    add(folder / "imagecalc.so");
    add(folder / "imagecalc-cuda.so");
    std::error_code error;  // a folder that is not there, or goes meanwhile, ends the loop
    for (std::filesystem::directory_iterator entry(folder / "imagecalc-openvino", error), end; !error && entry != end;
         entry.increment(error))
      add(entry->path());
  }

  bool has_runner() const { return files_.contains(runner_path()); }
  bool operator==(const InstalledFiles&) const = default;

 private:
  void add(const std::filesystem::path& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) return;
    files_[path.string()] = {status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
  }

  std::map<std::string, std::tuple<dev_t, ino_t, off_t, time_t, long>> files_;
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
                         std::to_string(settings_.model_cache * kMegabyte), "--request-bytes",
                         std::to_string(settings_.memory * kMegabyte), "--idle-timeout",
                         std::to_string(settings_.idle_timeout), "--batch-wait", std::to_string(settings_.batch_wait)},
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
  // Whether another runner has been installed, and all of it.
  bool is_replaced() {
    InstalledFiles now;
    if (now == installed_ || !now.has_runner()) {
      change_.reset();
    } else if (!change_ || change_->installed != now) {
      change_ = {std::move(now), GetCurrentTimestamp()};
    }
    return change_ && TimestampDifferenceExceeds(change_->seen, GetCurrentTimestamp(), kSettleMs);
  }
  bool sees_change() const { return change_.has_value(); }
  void ask_to_end() const { kill(pid_, SIGTERM); }
  bool was_healthy() const { return TimestampDifferenceExceeds(started_, GetCurrentTimestamp(), kHealthyMs); }

 private:
  pid_t pid_ = -1;
  int lifeline_ = -1;
  const RunnerSettings settings_;
  const InstalledFiles installed_;
  struct Change {
    InstalledFiles installed;
    TimestampTz seen;
  };
  std::optional<Change> change_;
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

enum class End { wanted, replaced, idle, death };

// Watches one runner to its end, or until this process is to end, a setting changes or another runner is installed.
End watch(ServingRunner& runner) {
  while (!ShutdownRequestPending && !runner.is_outdated()) {
    if (runner.is_replaced()) return End::replaced;
    int status;
    if (runner.has_died(&status)) {
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return End::idle;
      const std::string how = describe_exit(status);
      pg([&] { ereport(LOG, (errmsg("imagecalc-runner %s", how.c_str()))); });
      return End::death;
    }
    sleep_until_woken(runner.sees_change() ? kSettleMs / 2 : kLookMs);
  }
  return End::wanted;
}

// Lets it answer what it was asked. Nobody starts another one meanwhile, as the lock is held.
void drain(ServingRunner& runner) {
  const TimestampTz begin = GetCurrentTimestamp();
  runner.ask_to_end();
  int status;
  while (!ShutdownRequestPending && !runner.has_died(&status)) {
    if (TimestampDifferenceExceeds(begin, GetCurrentTimestamp(), kDrainMs)) return;
    sleep_until_woken(kDrainMs);
  }
}

void supervise() {
  if (!take_lock()) return;
  int backoff_ms = kFirstBackoffMs;
  for (int deaths = 0; !ShutdownRequestPending && deaths < kQuickDeaths;) {
    ServingRunner runner;
    const End end = watch(runner);
    if (end == End::wanted || end == End::replaced) drain(runner);
    if (end == End::idle || end == End::replaced) return;  // the next session that needs a runner starts all anew
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
