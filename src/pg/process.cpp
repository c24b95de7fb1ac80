#include "pg/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pg/wall.h"
#include "protocol/runner_environment.h"

namespace imagecalc {

std::string runner_path() { return std::string(pkglib_path) + "/imagecalc-runner"; }

namespace {

void reset_signals() {
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Puts the wanted descriptors at 0, 1 and 3. They are first moved out of the way of each other.
void place_descriptors(const ChildDescriptors& wanted) {
  const int null = open("/dev/null", O_RDWR);
  constexpr int kAbove = 10;
  const int in = fcntl(wanted.in >= 0 ? wanted.in : null, F_DUPFD, kAbove);
  const int out = fcntl(wanted.out >= 0 ? wanted.out : null, F_DUPFD, kAbove);
  const int lifeline = fcntl(wanted.lifeline >= 0 ? wanted.lifeline : null, F_DUPFD, kAbove);
  dup2(in, 0);
  dup2(out, 1);
  dup2(lifeline, 3);
  close_range(4, ~0U, 0);
}

}  // namespace

pid_t spawn_runner(const std::vector<std::string>& arguments, const ChildDescriptors& descriptors) {
  const std::string path = runner_path();
  if (access(path.c_str(), X_OK) != 0)
    throw Error(Fault::unavailable, "imagecalc-runner is not installed at " + path,
                "Build imagecalc with LibTorch, which the runner needs, and install it again.");
  std::vector<char*> argv{const_cast<char*>(path.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  const pid_t child = fork();
  if (child < 0) throw Error(Fault::unavailable, std::string("could not fork imagecalc-runner: ") + strerror(errno));
  if (child == 0) {
    setsid();  // signals to the parent's group, such as a cancel, are not for the runner
    reset_signals();
    set_runner_environment();
    place_descriptors(descriptors);
    execv(path.c_str(), argv.data());
    _exit(127);
  }
  return child;
}

bool has_ended(pid_t child, int* status) { return waitpid(child, status, WNOHANG) == child; }

std::string describe_exit(int status) {
  if (WIFSIGNALED(status)) return "was killed by signal " + std::to_string(WTERMSIG(status));
  return "exited with code " + std::to_string(WEXITSTATUS(status));
}

void end_runner(pid_t child, int grace_ms) {
  constexpr int kStepMs = 10;
  int status;
  kill(child, SIGTERM);
  for (int waited = 0; waited < grace_ms; waited += kStepMs) {
    if (has_ended(child, &status)) return;
    pg_usleep(kStepMs * 1000L);
  }
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
}

}  // namespace imagecalc
