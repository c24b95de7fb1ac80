#include "runner/server.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>

#include "runner/channel.h"
#include "runner/inference.h"

namespace imagecalc {

namespace {

[[noreturn]] void throw_system_error(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

// What all connections share. It is never destroyed: their threads use it until the process ends.
struct Shared {
  Shared(const ServeOptions& options)
      : engine(make_engine({options.engine, options.threads})),
        models(*engine, options.cache_bytes),
        cores(options.threads) {}

  std::unique_ptr<Engine> engine;
  ModelCache models;
  Cores cores;
  std::atomic<int> busy = 0;  // requests in flight
};

class InFlight {
 public:
  explicit InFlight(std::atomic<int>& count) : count_(count) { ++count_; }
  ~InFlight() { --count_; }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 private:
  std::atomic<int>& count_;
};

class Connection {
 public:
  Connection(int fd, Shared& shared) : fd_(fd), channel_(fd, fd), shared_(shared) {}

  // Returns when the conversation has ended.
  void converse() {
    if (!channel_.greet()) return;
    while (auto request = channel_.receive()) {
      InFlight in_flight(shared_.busy);
      channel_.send(answer(*request));
    }
  }

 private:
  Message answer(const Message& request) try {
    if (auto* infer_request = std::get_if<InferRequest>(&request)) {
      return infer(*infer_request, shared_.models, shared_.cores, HangUp(fd_));
    }
    if (auto* load = std::get_if<LoadModel>(&request)) {
      shared_.models.load(load->model, load->bytes);
      return Done{};
    }
    if (auto* inspect = std::get_if<InspectModel>(&request)) return shared_.engine->inspect(*inspect);
    return Failure{Fault::protocol, -1, "imagecalc-runner does not answer this request while serving", {}};
  } catch (...) {
    return current_failure();
  }

  int fd_;
  Channel channel_;
  Shared& shared_;
};

void run_connection(int fd, Shared& shared) {
  try {
    Connection(fd, shared).converse();
  } catch (const Error& error) {
    if (error.fault() != Fault::unavailable) {
      log_line(std::string("closing a connection: ") + error.what());
    }
  } catch (const std::exception& error) {
    log_line(std::string("closing a connection: ") + error.what());
  }
  ::close(fd);
}

// A listening socket that only this user can reach.
int listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    throw Error(Fault::invalid_argument,
                "the socket's path is longer than " + std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw_system_error("could not create a socket");
  ::unlink(path.c_str());
  ::umask(0177);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) throw_system_error("could not bind " + path);
  if (::listen(fd, SOMAXCONN) < 0) throw_system_error("could not listen at " + path);
  return fd;
}

bool is_same_user(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == ::geteuid();
}

void accept_one(int listener, Shared& shared) {
  int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0) {
    if (errno == EINTR || errno == ECONNABORTED || errno == EAGAIN) return;
    log_line(std::string("could not accept a connection: ") + std::strerror(errno));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // out of file descriptors: some may come free
    return;
  }
  if (!is_same_user(fd)) {
    log_line("refused a connection of another user");
    ::close(fd);
    return;
  }
  try {
    std::thread(run_connection, fd, std::ref(shared)).detach();
  } catch (const std::system_error& error) {
    log_line(std::string("could not start a thread: ") + error.what());
    ::close(fd);
  }
}

void accept_until_stopped(int listener, int lifeline, int stop_fd, Shared& shared) {
  pollfd states[] = {{listener, POLLIN, 0}, {lifeline, POLLIN, 0}, {stop_fd, POLLIN, 0}};
  while (true) {
    if (::poll(states, std::size(states), -1) < 0 && errno != EINTR) throw_system_error("could not wait for connections");
    if (states[1].revents || states[2].revents) return;
    if (states[0].revents) accept_one(listener, shared);
  }
}

}  // namespace

void serve(const ServeOptions& options, int stop_fd) {
  auto& shared = *new Shared(options);
  int listener = listen_at(options.socket_path);
  accept_until_stopped(listener, options.lifeline, stop_fd, shared);
  ::close(listener);
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (shared.busy > 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace imagecalc
