#include "pg/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "pg/wall.h"

namespace imagecalc {
namespace {

// How much memory a message may ask for before its bytes arrive.
constexpr std::size_t kReadStep = 1 << 20;

// What is read at least, if it is there: short messages take one system call each.
constexpr std::size_t kReadAhead = 16 << 10;

// A cancel may have reached the other side first: then it is a cancel that happened.
[[noreturn]] void throw_gone() {
  check_for_interrupts();
  throw Error(Fault::unavailable, "imagecalc-runner ended while it was at work",
              "The server's log says why. Try again: it is started anew.");
}

bool must_wait() { return errno == EAGAIN || errno == EWOULDBLOCK; }

}  // namespace

Channel::Channel(int descriptor) : descriptor_(descriptor) {
  fcntl(descriptor_, F_SETFL, fcntl(descriptor_, F_GETFL) | O_NONBLOCK);
}

Channel& Channel::operator=(Channel&& other) noexcept {
  close();
  std::swap(descriptor_, other.descriptor_);
  std::swap(waits_, other.waits_);
  std::swap(outgoing_, other.outgoing_);
  std::swap(sent_, other.sent_);
  std::swap(incoming_, other.incoming_);
  std::swap(received_, other.received_);
  return *this;
}

void Channel::close() {
  if (waits_) FreeWaitEventSet(waits_);
  waits_ = nullptr;
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
  outgoing_ = incoming_ = Blob();
  sent_ = received_ = 0;
}

bool Channel::is_stale() const {
  if (received_ > 0) return true;
  char byte;
  const ssize_t count = recv(descriptor_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return count >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

void Channel::post(const Message& message) {
  Blob frame = encode_frame(message);
  if (outgoing_.empty()) {
    outgoing_ = std::move(frame);
  } else {
    outgoing_.erase(outgoing_.begin(), outgoing_.begin() + static_cast<std::ptrdiff_t>(sent_));  // or it would only grow
    sent_ = 0;
    outgoing_.insert(outgoing_.end(), frame.begin(), frame.end());
  }
  if (!try_push()) throw_gone();
}

void Channel::drop_outgoing() noexcept {
  outgoing_ = Blob();
  sent_ = 0;
}

bool Channel::try_push() noexcept {
  while (sent_ < outgoing_.size()) {
    const ssize_t count = ::send(descriptor_, outgoing_.data() + sent_, outgoing_.size() - sent_, MSG_NOSIGNAL);
    if (count > 0) {
      sent_ += static_cast<std::size_t>(count);
    } else if (count < 0 && must_wait()) {
      return true;
    } else if (count == 0 || errno != EINTR) {
      return false;
    }
  }
  drop_outgoing();
  return true;
}

// Whether incoming_ has as many bytes. It may have more.
bool Channel::read_up_to(std::size_t size) {
  while (received_ < size) {
    if (received_ == incoming_.size()) {
      incoming_.resize(std::max(kReadAhead, std::min(size, std::max(2 * received_, kReadStep))));
    }
    const ssize_t count = recv(descriptor_, incoming_.data() + received_, incoming_.size() - received_, 0);
    if (count > 0) {
      received_ += static_cast<std::size_t>(count);
    } else if (count < 0 && must_wait()) {
      return false;
    } else if (count == 0 || errno != EINTR) {
      throw_gone();
    }
  }
  return true;
}

std::optional<Message> Channel::poll() {
  if (!try_push()) drop_outgoing();  // nobody listens, but what was said before that can be heard
  if (!read_up_to(kFrameHeaderSize)) return std::nullopt;
  const FrameHeader header = decode_frame_header(std::span(incoming_).first<kFrameHeaderSize>());
  const std::size_t size = kFrameHeaderSize + header.body_size;
  if (!read_up_to(size)) return std::nullopt;
  Message message = decode_body(header, std::span(incoming_).subspan(kFrameHeaderSize, header.body_size));
  const auto begin = incoming_.begin();
  std::copy(begin + static_cast<std::ptrdiff_t>(size), begin + static_cast<std::ptrdiff_t>(received_), begin);
  received_ -= size;
  if (incoming_.size() > kReadStep && received_ == 0) incoming_ = Blob();
  return message;
}

void Channel::prepare_to_wait() {
  pg([&] {
    if (!waits_) {
      WaitEventSet* waits = CreateWaitEventSet(TopMemoryContext, 3);
      AddWaitEventToSet(waits, WL_SOCKET_READABLE, descriptor_, nullptr, nullptr);
      AddWaitEventToSet(waits, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
      AddWaitEventToSet(waits, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
      waits_ = waits;
    }
    constexpr int kSocket = 0;
    ModifyWaitEvent(waits_, kSocket, WL_SOCKET_READABLE | (outgoing_.empty() ? 0 : WL_SOCKET_WRITEABLE), nullptr);
  });
}

void Channel::wait() {
  prepare_to_wait();
  while (true) {
    WaitEvent event;
    pg([&] { (void)WaitEventSetWait(waits_, -1, &event, 1, PG_WAIT_EXTENSION); });
    if (!(event.events & WL_LATCH_SET)) return;
    ResetLatch(MyLatch);
    check_for_interrupts();
  }
}

void Channel::wait_briefly(std::chrono::nanoseconds limit) {
  pollfd state{.fd = descriptor_, .events = POLLIN, .revents = 0};
  const auto seconds = std::chrono::floor<std::chrono::seconds>(limit);
  const timespec timeout{.tv_sec = seconds.count(), .tv_nsec = (limit - seconds).count()};
  (void)ppoll(&state, 1, &timeout, nullptr);  // a signal ends it
  check_for_interrupts();
}

void Channel::wait_awake(std::chrono::nanoseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  char byte;
  while (recv(descriptor_, &byte, 1, MSG_PEEK) < 0 && std::chrono::steady_clock::now() < end) {
    sched_yield();
    check_for_interrupts();
  }
}

Message Channel::receive() {
  while (true) {
    if (auto message = poll()) return std::move(*message);
    wait();
  }
}

}  // namespace imagecalc
