// imagecalc-runner as a child process, and the test's side of the conversation.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "protocol/runner_environment.h"
#include "runner/channel.h"

namespace imagecalc::test {

inline void expect(bool good, const char* what) {
  if (!good) throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

// A child process: killed and reaped at the latest when the object goes.
class Child {
 public:
  // in_child: what to do between fork and exec.
  Child(const std::vector<std::string>& arguments, const std::function<void()>& in_child) {
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    pid_ = ::fork();
    expect(pid_ >= 0, "fork");
    if (pid_ > 0) return;
    in_child();
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void signal(int number) const { ::kill(pid_, number); }

  // How it ended, if it did within the time.
  std::optional<int> wait(std::chrono::milliseconds patience) {
    auto deadline = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < deadline) {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = -1;
        return status;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return std::nullopt;
  }

 private:
  pid_t pid_ = -1;
};

// A file descriptor that closes itself.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { close(); }
  int get() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

inline std::pair<Fd, Fd> make_pipe() {
  int ends[2];
  expect(::pipe2(ends, O_CLOEXEC) == 0, "pipe");
  return {Fd(ends[0]), Fd(ends[1])};
}

// One conversation: asks and takes the answer, passing Progress by.
class Conversation {
 public:
  Conversation(Fd in, Fd out)
      : in_(std::move(in)), out_(std::move(out)), channel_(in_.get(), out_.get() < 0 ? in_.get() : out_.get()) {
    ask(Hello{});
  }

  Message ask(
      const Message& request, const std::function<void(const Progress&)>& on_progress = [](const Progress&) {}) {
    channel_.send(request);
    while (true) {
      auto reply = channel_.receive();
      if (!reply) throw std::runtime_error("the runner has closed the conversation");
      auto* progress = std::get_if<Progress>(&*reply);
      if (!progress) return std::move(*reply);
      on_progress(*progress);
    }
  }

  Channel& channel() { return channel_; }
  int fd() const { return in_.get(); }

 private:
  Fd in_, out_;
  Channel channel_;
};

class ServingRunner {
 public:
  explicit ServingRunner(int threads = 2, const std::vector<std::string>& options = {}) : directory_(make_directory()) {
    auto [read_end, write_end] = make_pipe();
    lifeline_ = std::move(write_end);
    int inherited = read_end.get();
    std::vector<std::string> arguments{IMAGECALC_RUNNER, "--serve", "--socket", "s", "--lifeline",
                                       std::to_string(inherited), "--threads", std::to_string(threads)};
    arguments.insert(arguments.end(), options.begin(), options.end());
    child_.emplace(arguments, [&] {
      set_runner_environment();
      ::fcntl(inherited, F_SETFD, 0);
      expect(::chdir(directory_.c_str()) == 0, "chdir");
    });
  }
  ~ServingRunner() {
    child_.reset();
    std::filesystem::remove_all(directory_);
  }

  // Waits until the runner listens.
  Conversation connect() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_path().copy(address.sun_path, sizeof address.sun_path - 1);
    for (int i = 0; i < 3000; ++i) {
      Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return {std::move(fd), Fd()};
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    throw std::runtime_error("the runner does not listen");
  }

  std::string socket_path() const { return directory_ + "/s"; }
  void cut_lifeline() { lifeline_.close(); }
  Child& child() { return *child_; }

 private:
  static std::string make_directory() {
    std::string name = (std::filesystem::temp_directory_path() / "imagecalc-test-XXXXXX").string();
    expect(::mkdtemp(name.data()) != nullptr, "mkdtemp");
    return name;
  }

  std::string directory_;
  Fd lifeline_;
  std::optional<Child> child_;
};

class TrainingRunner {
 public:
  explicit TrainingRunner(const std::vector<std::string>& options = {}) {
    std::vector<std::string> arguments{IMAGECALC_RUNNER, "--train"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    auto [child_in, to_child] = make_pipe();
    auto [from_child, child_out] = make_pipe();
    child_.emplace(arguments, [&] {
      set_runner_environment();
      ::dup2(child_in.get(), STDIN_FILENO);
      ::dup2(child_out.get(), STDOUT_FILENO);
    });
    child_in.close();
    child_out.close();
    conversation_.emplace(std::move(from_child), std::move(to_child));
  }

  Message ask(
      const Message& request, const std::function<void(const Progress&)>& on_progress = [](const Progress&) {}) {
    return conversation_->ask(request, on_progress);
  }
  Conversation& conversation() { return *conversation_; }
  void hang_up() { conversation_.reset(); }
  Child& child() { return *child_; }

 private:
  std::optional<Child> child_;
  std::optional<Conversation> conversation_;
};

}  // namespace imagecalc::test
