#include "runner/server.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "runner/channel.h"
#include "runner/inference.h"
#include "runner/model_cache.h"

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
        batcher(options.threads, options.batch_wait) {}

  std::unique_ptr<Engine> engine;
  ModelCache models;
  Batcher batcher;
  std::atomic<int> busy = 0;  // requests in flight
};

// What the reader of a connection has ready for the thread that answers: a request to be answered whole, or a portion of one
// whose items the reader has decoded.
struct Work {
  std::optional<Message> request = {};
  ModelHash model = {};
  std::size_t items = 0;  // of the whole request
  Portion portion = {};
  std::optional<Failure> failure = {};  // of the whole request
  bool last = true;                     // of its request: then the reply is due
};

// A little work ahead, so that decoding overlaps with the model, and no more: memory is bounded, and who sends faster waits.
class WorkQueue {
 public:
  // Waits for room. False once nobody takes any more.
  bool put(Work work) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || !next_; });
    if (closed_) return false;
    next_ = std::move(work);
    changed_.notify_all();
    return true;
  }
  // Waits for work. Nothing once the queue is closed and empty.
  std::optional<Work> take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || next_; });
    std::optional<Work> work = std::exchange(next_, std::nullopt);
    changed_.notify_all();
    return work;
  }
  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

  // Buffers go round: new ones cost a page fault for every 4 kB.
  std::vector<float> spare_buffer() {
    std::lock_guard lock(mutex_);
    return std::exchange(spare_, {});
  }
  void give_back(std::vector<float> buffer) {
    std::lock_guard lock(mutex_);
    spare_ = std::move(buffer);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Work> next_;
  std::vector<float> spare_;
  bool closed_ = false;
};

// One conversation, in two threads: one reads and decodes, the other runs the models and answers.
class Connection {
 public:
  Connection(int fd, Shared& shared) : fd_(fd), channel_(fd, fd), shared_(shared) {}

  // Returns when the conversation has ended.
  void converse() {
    if (!channel_.greet()) return;
    std::jthread answering([this] { answer_all(); });
    try {
      while (auto request = channel_.receive()) {
        ++shared_.busy, ++unanswered_;
        if (!read(std::move(*request))) break;
      }
    } catch (...) {
      end(answering);
      throw;
    }
    end(answering);
  }

 private:
  void end(std::jthread& answering) {
    queue_.close();
    answering.join();
    shared_.busy -= unanswered_;
  }

  // ---- the reading thread

  // False once nobody answers.
  bool read(Message message) {
    auto* request = std::get_if<InferRequest>(&message);
    if (!request) return queue_.put({.request = std::move(message)});
    const bool single = request->items.size() == 1;
    // Held back by one, so that the last one is known as such.
    std::optional<Portion> held;
    bool open = true;
    auto put = [&](Portion&& portion, bool last) {
      Work work{.model = request->model, .items = request->items.size(), .portion = std::move(portion), .last = last};
      open = single && is_alone() ? handle(work) : queue_.put(std::move(work));
    };
    try {
      decode_items(*request, HangUp(fd_), [&] { return queue_.spare_buffer(); }, [&](Portion&& portion) {
        if (held && open) put(std::move(*held), false);
        held = std::move(portion);
      });
    } catch (...) {
      return queue_.put({.failure = current_failure()});
    }
    put(std::move(*held), true);
    return open;
  }

  // Whether there is nothing to overlap with: a lone image is not worth waking another thread.
  bool is_alone() const {
    pollfd state{.fd = fd_, .events = POLLIN, .revents = 0};
    return unanswered_ == 1 && ::poll(&state, 1, 0) == 0;
  }

  // ---- the answering thread, or the reading one as long as the other has nothing to do

  void answer_all() try {
    while (auto work = queue_.take()) handle(*work);
  } catch (const Error& error) {
    if (error.fault() != Fault::unavailable) log_line(std::string("closing a connection: ") + error.what());
    hang_up();
  } catch (const std::exception& error) {
    log_line(std::string("closing a connection: ") + error.what());
    hang_up();
  }

  // True: someone answers.
  bool handle(Work& work) {
    answer(work);
    queue_.give_back(std::move(work.portion.tensors));
    if (!work.last) return true;
    channel_.send(std::exchange(reply_, std::nullopt).value());
    inference_.reset();
    --shared_.busy, --unanswered_;
    return true;
  }

  // The reader may be waiting for more to read, or for room in the queue.
  void hang_up() {
    queue_.close();
    ::shutdown(fd_, SHUT_RDWR);
  }

  // Sets the reply where it is known; the first failure of a request stands.
  void answer(const Work& work) try {
    if (work.request) {
      reply_ = answer_whole(*work.request);
    } else if (work.failure) {
      reply_ = *work.failure;
    } else if (!reply_) {
      run(work);
    }
  } catch (...) {
    reply_ = current_failure();
  }

  void run(const Work& work) {
    HangUp(fd_).check();
    auto model = shared_.models.find(work.model);
    if (!model) {
      reply_ = NeedModel{};
      return;
    }
    if (!inference_) inference_.emplace(work.items, this);
    inference_->run(work.portion, *model, shared_.batcher);
    if (work.last) reply_ = inference_->finish();
  }

  Message answer_whole(const Message& request) {
    if (auto* load = std::get_if<LoadModel>(&request)) {
      shared_.models.load(load->model, load->bytes);
      return Done{};
    }
    if (auto* inspect = std::get_if<InspectModel>(&request)) return shared_.engine->inspect(*inspect);
    return Failure{Fault::protocol, -1, "imagecalc-runner does not answer this request while serving", {}};
  }

  int fd_;
  Channel channel_;
  Shared& shared_;
  WorkQueue queue_;
  std::atomic<int> unanswered_ = 0;
  std::optional<Inference> inference_;  // of the request whose portions are being answered
  std::optional<Message> reply_;        // to it
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
