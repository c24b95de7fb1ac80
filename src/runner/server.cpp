#include "runner/server.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <mutex>
#include <optional>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "runner/budget.h"
#include "runner/channel.h"
#include "runner/inference.h"
#include "runner/model_cache.h"
#include "runner/statistics.h"

namespace imagecalc {

namespace {

[[noreturn]] void throw_system_error(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

using Clock = std::chrono::steady_clock;

// How long a connection waits awake for the next request: Postgres takes about half of the least from one row to the next, and more
// where a large model has taken its caches; an eighth of what the last inference took is little beside it.
constexpr std::chrono::microseconds kLeastAwake{200}, kMostAwake{2000};
constexpr int kAwakePart = 8;

// The sockets of those who are connected.
class Sessions {
 public:
  void add(int fd) {
    std::lock_guard lock(mutex_);
    sockets_.insert(fd);
    if (closed_) ::shutdown(fd, SHUT_RD);
  }
  // Closes it.
  void remove(int fd) {
    std::lock_guard lock(mutex_);
    sockets_.erase(fd);
    ::close(fd);
  }
  std::size_t count() {
    std::lock_guard lock(mutex_);
    return sockets_.size();
  }
  bool is_closed() {
    std::lock_guard lock(mutex_);
    return closed_;
  }
  // Takes no more requests: what has been sent can still be read, and then comes an end of file; sending fails at once.
  void close_entrance() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    for (int fd : sockets_) ::shutdown(fd, SHUT_RD);
  }

 private:
  std::mutex mutex_;
  std::set<int> sockets_;
  bool closed_ = false;
};

// Tells a lone session from several.
class Company {
 public:
  // That a session asks for scores. Whether it has been the only one for a while.
  bool is_alone(const void* session) {
    std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    if (std::exchange(last_, session) != session) changed_ = now;
    return now - changed_ > kWhile;
  }

 private:
  static constexpr std::chrono::milliseconds kWhile{100};
  std::mutex mutex_;
  const void* last_ = nullptr;
  Clock::time_point changed_ = {};  // when another session came
};

// The cores that the models leave, and where they leave none all of them: then models and decoding share the machine.
int spare_cores(int model_threads) {
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  return cores > model_threads ? cores - model_threads : cores;
}

// What all connections share. It is never destroyed: their threads use it until the process ends.
struct Shared {
  Shared(const ServeOptions& options, int stop)
      : stop_fd(stop),
        devices(open_devices(options.device_plugin)),
        engine(make_engine(options.threads, devices)),
        models(*engine, options.cache_bytes),
        batcher(options.threads, buffers, options.batch_wait, devices.count()),
        budget(options.request_bytes, options.request_patience),
        decoders(options.decode_threads > 0 ? options.decode_threads : spare_cores(options.threads)),
        threads(options.threads) {}

  // Ends the runner, which answers what it has before: the next one starts anew.
  void end() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(stop_fd, &one, sizeof one);
  }

  const int stop_fd;
  const Devices devices;
  std::unique_ptr<Engine> engine;
  ModelCache models;
  Buffers buffers;
  Batcher batcher;
  Budget budget;
  DecodePool decoders;
  Statistics statistics;
  Company company;
  const int threads;
  std::atomic<int> busy = 0;  // requests in flight
  std::atomic_flag awake = {};  // whether a connection waits awake
  std::atomic<Clock::time_point> last_use = Clock::now();
  Sessions sessions;
};

// Bytes of this process that are in memory.
std::uint64_t resident_memory() {
  std::uint64_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

StatisticsReply read_statistics(Shared& shared) {
  StatisticsReply reply;
  reply.pid = static_cast<std::uint32_t>(::getpid());
  reply.threads = static_cast<std::uint32_t>(shared.threads);
  reply.engines = shared.engine->libraries();
  for (int i = 0; i < static_cast<int>(shared.devices.count()); ++i) {
    const Device& device = shared.devices[i];
    reply.devices.push_back(device.name() + " (" + device.description() + (device.has_failed() ? ", has failed)" : ")"));
  }
  reply.device_note = shared.devices.note();
  reply.memory = resident_memory();
  reply.connections = static_cast<std::uint32_t>(shared.sessions.count());
  reply.queue = static_cast<std::uint32_t>(std::max(0, shared.busy - 1));  // but for the one that asks
  reply.refused = shared.budget.refused();
  shared.statistics.report(shared.models.list(), reply);
  return reply;
}

// What the reader of a connection has ready for the thread that answers: a request to be answered whole, or a portion of one
// whose items the reader has decoded.
struct Work {
  std::optional<Message> request = {};
  ModelHash model = {};
  Wish wish = {};
  std::size_t items = 0;  // of the whole request
  Clock::time_point arrival = {};
  Portion portion = {};
  Budget::Share share = {};  // of the whole request; the last piece of work has it
  std::optional<Failure> failure = {};  // of the whole request
  bool model_is_absent = false;
  bool wants_device = false;  // and no other processor will do
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

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Work> next_;
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
      while (auto incoming = await_request()) {
        ++shared_.busy, ++unanswered_;
        shared_.last_use = Clock::now();
        if (!receive(std::move(*incoming))) break;
      }
    } catch (...) {
      end(answering);
      throw;
    }
    end(answering);
    if (shared_.sessions.is_closed()) channel_.send(Leaving{});
  }

 private:
  void end(std::jthread& answering) {
    queue_.close();
    answering.join();
    shared_.busy -= unanswered_;
  }

  // ---- the reading thread

  // A session that asks again as soon as it is answered is waited for awake, where it is the only one at work: a core that
  // has gone to sleep in between takes about 50 us to wake, and finds its caches taken by others.
  std::optional<Channel::Incoming> await_request() {
    const auto limit = Clock::now() + std::clamp<Clock::duration>(taken_alone_.load() / kAwakePart, kLeastAwake, kMostAwake);
    if (returns_quickly_ && !shared_.awake.test_and_set()) {
      while (!channel_.has_input() && shared_.busy == 0 && Clock::now() < limit) std::this_thread::yield();
      shared_.awake.clear();
    }
    auto incoming = channel_.begin();
    returns_quickly_ = Clock::now() < limit;
    return incoming;
  }

  // False once nobody answers, or asks. A request for which there is no room is refused unread.
  bool receive(Channel::Incoming incoming) {
    const auto arrival = Clock::now();
    Budget::Share share;
    try {
      share = shared_.budget.take(memory_of(incoming), HangUp(fd_));
    } catch (...) {
      const Failure failure = current_failure();
      return channel_.skip(incoming) && queue_.put({.failure = failure});
    }
    auto message = channel_.finish(std::move(incoming));
    return message && read(std::move(*message), std::move(share), arrival);
  }

  // The bytes of a request, as a message and taken apart, and its tensors.
  static std::size_t memory_of(const Channel::Incoming& incoming) {
    const auto request = outline(incoming.header, incoming.body);
    return std::size_t{2} * incoming.header.body_size + (request ? tensor_bytes(*request) : 0);
  }

  bool read(Message message, Budget::Share share, Clock::time_point arrival) {
    auto* incoming = std::get_if<InferRequest>(&message);
    if (!incoming) return queue_.put({.request = std::move(message), .share = std::move(share)});
    const auto request = std::make_shared<const InferRequest>(std::move(*incoming));
    const bool single = request->items.size() == 1;
    bool open = true;
    const bool wants_device = request->device.kind == DeviceChoice::Kind::cuda;
    int device = kCpu;
    auto put = [&](Portion&& portion, bool last) {
      if (!open) return;
      Work work{.model = request->model, .wish = {request->engine, request->bf16, device}, .items = request->items.size(),
                .arrival = arrival, .portion = std::move(portion), .wants_device = wants_device,
                .last = last};
      if (last) work.share = std::move(share);
      open = single && is_alone() ? handle(work) : queue_.put(std::move(work));
    };
    try {
      const auto place = device_for(*request);
      if (!place) return queue_.put({.share = std::move(share), .model_is_absent = true});
      device = *place;
      Device* const there = device == kCpu ? nullptr : &shared_.devices[device];
      decode_items(request, HangUp(fd_), shared_.buffers, shared_.decoders, there, put);
    } catch (...) {
      return queue_.put({.share = std::move(share), .failure = current_failure(), .wants_device = wants_device});
    }
    return open;
  }

  // Where its model runs; nothing where that depends on the model, which is not there.
  std::optional<int> device_for(const InferRequest& request) {
    const bool may_be_cpu = request.device.kind == DeviceChoice::Kind::automatic;
    if (may_be_cpu && request.engine == EngineChoice::openvino) return kCpu;
    const int device = shared_.devices.pick(request.device);
    if (device == kCpu) return kCpu;
    const auto model = shared_.models.find(request.model);
    if (!model) return std::nullopt;
    const std::string refusal = refusal_of(device, request, *model);
    if (refusal.empty()) return device;
    if (may_be_cpu) return kCpu;
    throw Error(Fault::no_device, "the model does not run on " + shared_.devices[device].name() + ": " + refusal,
                "Set imagecalc.device to 'cpu', or give the model another device with ic_set_device.");
  }

  static std::string refusal_of(int device, const InferRequest& request, Model& model) {
    if (request.engine == EngineChoice::openvino) return "OpenVINO, which is asked for, runs models on the CPU alone";
    const auto size = fixed_size(request.input);
    return size ? model.device_refusal(device, *size) : "formats without a size run on the CPU alone";
  }

  // Whether there is nothing to overlap with: a lone image is not worth waking another thread.
  bool is_alone() const { return unanswered_ == 1 && !channel_.has_input(); }

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
    work.portion = {};  // its buffer is for others
    if (!work.last) return true;
    work.share = {};  // the client may take its time to read
    channel_.send(std::exchange(reply_, std::nullopt).value());
    inference_.reset();
    if (work.wants_device && shared_.devices.has_failed()) shared_.end();
    shared_.last_use = Clock::now();
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
    } else if (work.model_is_absent) {
      reply_ = NeedModel{};
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
    inference_->run(work.portion, *model, work.wish, shared_.batcher);
    if (!work.last) return;
    InferReply reply = inference_->finish();
    if (work.wish.device != kCpu) reply.device = shared_.devices[work.wish.device].name();
    const auto elapsed = Clock::now() - work.arrival;
    const std::chrono::duration<float, std::micro> taken = elapsed;
    shared_.statistics.record(work.model, reply, work.items, taken.count());
    reply.alone = shared_.company.is_alone(this);
    taken_alone_ = reply.alone ? elapsed : Clock::duration::zero();
    reply_ = std::move(reply);
  }

  Message answer_whole(const Message& request) {
    if (auto* load = std::get_if<LoadModel>(&request)) {
      shared_.models.load(load->model, load->bytes);
      return Done{};
    }
    if (auto* inspect = std::get_if<InspectModel>(&request)) return shared_.engine->inspect(*inspect);
    if (std::holds_alternative<ReadStatistics>(request)) return read_statistics(shared_);
    if (std::holds_alternative<ResetStatistics>(request)) {
      shared_.statistics.reset();
      shared_.budget.reset_refused();
      return Done{};
    }
    return Failure{Fault::protocol, -1, "imagecalc-runner does not answer this request while serving", {}};
  }

  int fd_;
  Channel channel_;
  Shared& shared_;
  WorkQueue queue_;
  bool returns_quickly_ = false;  // whether the last request came in the time in which it is waited for awake
  std::atomic<Clock::duration> taken_alone_ = Clock::duration::zero();  // by the last inference; 0 where other sessions asked, too
  std::atomic<int> unanswered_ = 0;
  std::optional<Inference> inference_;  // of the request whose portions are being answered
  std::optional<Message> reply_;        // to it
};

void run_connection(int fd, Shared& shared) {
  shared.sessions.add(fd);
  try {
    Connection(fd, shared).converse();
  } catch (const Error& error) {
    if (error.fault() != Fault::unavailable) {
      log_line(std::string("closing a connection: ") + error.what());
    }
  } catch (const std::exception& error) {
    log_line(std::string("closing a connection: ") + error.what());
  }
  shared.sessions.remove(fd);
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

// For poll: how long it is until the timeout, at the earliest; -1 where there is none.
int ms_until_idle(const Shared& shared, std::chrono::seconds timeout) {
  if (timeout.count() == 0) return -1;
  const auto left = shared.last_use.load() + timeout - Clock::now();
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return static_cast<int>(std::clamp<std::int64_t>(shared.busy > 0 ? 1000 : ms, 0, 3'600'000));
}

void accept_until_stopped(int listener, const ServeOptions& options, int stop_fd, Shared& shared) {
  pollfd states[] = {{listener, POLLIN, 0}, {options.lifeline, POLLIN, 0}, {stop_fd, POLLIN, 0}};
  for (int wait_ms; (wait_ms = ms_until_idle(shared, options.idle_timeout)) != 0;) {
    if (::poll(states, std::size(states), wait_ms) < 0) {
      if (errno != EINTR) throw_system_error("could not wait for connections");
      continue;
    }
    if (states[1].revents || states[2].revents) return;
    if (states[0].revents) accept_one(listener, shared);
  }
}

void finish_what_was_sent(Shared& shared, int lifeline) {
  shared.sessions.close_entrance();
  const auto begin = Clock::now();
  std::optional<Clock::time_point> orphaned;
  const HangUp lifeline_end(lifeline);
  auto has_time = [&] {
    const auto now = Clock::now();
    if (!orphaned && lifeline_end.requested()) orphaned = now;
    return now < begin + std::chrono::seconds(30) && (!orphaned || now < *orphaned + std::chrono::seconds(1));
  };
  while (shared.sessions.count() > 0 && has_time()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

}  // namespace

void serve(const ServeOptions& options, int stop_fd) {
  auto& shared = *new Shared(options, stop_fd);
  int listener = listen_at(options.socket_path);
  accept_until_stopped(listener, options, stop_fd, shared);
  ::close(listener);
  finish_what_was_sent(shared, options.lifeline);
}

}  // namespace imagecalc
