// imagecalc-runner: the process that runs and trains models, apart from the database server.
//
//   imagecalc-runner --serve --socket PATH --lifeline FD [--threads N] [--cache-bytes N] [--batch-wait MICROSECONDS]
//                    [--idle-timeout SECONDS] [--decode-threads N] [--request-bytes N] [--request-patience MILLISECONDS]
//                    [--device-plugin FILE]
//   imagecalc-runner --train [--device-plugin FILE]        messages on standard input and output
//
// Whoever starts it should call set_runner_environment: otherwise it starts twice.
#include <fcntl.h>
#include <getopt.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "protocol/runner_environment.h"
#include "runner/channel.h"
#include "runner/device/device.h"
#include "runner/server.h"
#include "runner/train/trainer.h"

namespace {

using namespace imagecalc;

constexpr char kUsage[] =
    "usage: imagecalc-runner --serve --socket PATH --lifeline FD [--threads N] [--cache-bytes N]\n"
    "                        [--batch-wait MICROSECONDS] [--idle-timeout SECONDS] [--decode-threads N]\n"
    "                        [--request-bytes N] [--request-patience MILLISECONDS] [--device-plugin FILE]\n"
    "       imagecalc-runner --train [--device-plugin FILE]\n";

constexpr std::chrono::microseconds kMaxBatchWait{1'000'000};  // nobody wants to wait longer for company

enum class Mode { none, serve, train };

struct Options {
  Mode mode = Mode::none;
  ServeOptions serve;
};

template <typename T>
bool parse_number(const char* text, T smallest, T largest, T& number) {
  const char* end = text + std::strlen(text);
  auto [stop, error] = std::from_chars(text, end, number);
  return error == std::errc() && stop == end && number >= smallest && number <= largest;
}

// A number of Units, as std::chrono counts them.
template <typename Units>
bool parse_duration(const char* text, Units most, Units& duration) {
  typename Units::rep count = 0;
  const bool good = parse_number(text, typename Units::rep{0}, most.count(), count);
  duration = Units(count);
  return good;
}

bool parse_options(int argc, char** argv, Options& options) {
  static const option kOptions[] = {{"serve", no_argument, nullptr, 'v'},
                                    {"train", no_argument, nullptr, 't'},
                                    {"socket", required_argument, nullptr, 's'},
                                    {"lifeline", required_argument, nullptr, 'l'},
                                    {"threads", required_argument, nullptr, 'n'},
                                    {"decode-threads", required_argument, nullptr, 'd'},
                                    {"request-bytes", required_argument, nullptr, 'r'},
                                    {"request-patience", required_argument, nullptr, 'p'},
                                    {"cache-bytes", required_argument, nullptr, 'c'},
                                    {"batch-wait", required_argument, nullptr, 'w'},
                                    {"idle-timeout", required_argument, nullptr, 'i'},
                                    {"device-plugin", required_argument, nullptr, 'g'},
                                    {nullptr, 0, nullptr, 0}};
  ServeOptions& serve = options.serve;
  serve.device_plugin = default_plugin_path();
  for (int code; (code = ::getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    bool good = true;
    switch (code) {
      case 'v': options.mode = Mode::serve; break;
      case 't': options.mode = Mode::train; break;
      case 's': serve.socket_path = optarg; break;
      case 'l': good = parse_number(optarg, 0, 1 << 20, serve.lifeline); break;
      case 'n': good = parse_number(optarg, 1, 1024, serve.threads); break;
      case 'd': good = parse_number(optarg, 0, 1024, serve.decode_threads); break;
      case 'r': good = parse_number(optarg, std::size_t{0}, SIZE_MAX, serve.request_bytes); break;
      case 'p': good = parse_duration(optarg, std::chrono::milliseconds::max(), serve.request_patience); break;
      case 'c': good = parse_number(optarg, std::size_t{0}, SIZE_MAX, serve.cache_bytes); break;
      case 'w': good = parse_duration(optarg, kMaxBatchWait, serve.batch_wait); break;
      case 'g': serve.device_plugin = optarg; break;
      case 'i': good = parse_duration(optarg, std::chrono::seconds::max(), serve.idle_timeout); break;
      default: good = false;
    }
    if (!good) return false;
  }
  if (optind != argc || options.mode == Mode::none) return false;
  return options.mode == Mode::train || (!serve.socket_path.empty() && serve.lifeline >= 0);
}

int g_stop_fd = -1;

extern "C" void request_stop(int) {
  int saved = errno;
  std::uint64_t one = 1;
  [[maybe_unused]] ssize_t written = ::write(g_stop_fd, &one, sizeof one);
  errno = saved;
}

// Ends with the parent, takes its SIGTERM as a wish, and is the first to go when memory runs out.
void become_helper() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); fd >= 0) {
    [[maybe_unused]] ssize_t written = ::write(fd, "900", 3);
    ::close(fd);
  }
  // Writes that cannot be are errors of the call: to one who has gone, past what a file may hold.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

// A caller that has not seen to the environment costs a second start.
void set_environment(char** argv) {
  if (!set_runner_environment()) return;
  ::execv("/proc/self/exe", argv);
  log_line("could not start again with another environment: models may be slow");
}

void serve_until_stopped(const ServeOptions& options) {
  g_stop_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  struct sigaction action {};
  action.sa_handler = request_stop;
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
  serve(options, g_stop_fd);
}

// Messages keep the standard output for themselves: what libraries print goes to standard error.
void train_on_standard_streams(const std::string& device_plugin) {
  int out = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  ::dup2(STDERR_FILENO, STDOUT_FILENO);
  train(STDIN_FILENO, out, device_plugin);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse_options(argc, argv, options)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  set_environment(argv);
  become_helper();
  int status = 0;
  try {
    options.mode == Mode::serve ? serve_until_stopped(options.serve) : train_on_standard_streams(options.serve.device_plugin);
  } catch (const std::exception& error) {
    log_line(error.what());
    status = 1;
  }
  // LibTorch's static destructors crash, and connections may still be busy.
  ::_exit(status);
}
