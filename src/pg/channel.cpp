#include "pg/channel.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pg/wall.h"

namespace imagecalc {
namespace {

// A cancel may have reached the other side first: then it is a cancel that happened.
[[noreturn]] void throw_gone() {
  check_for_interrupts();
  throw Error(Fault::unavailable, "imagecalc-runner ended while it was at work",
              "The server's log says why. Try again: it is started anew.");
}

}  // namespace

Channel::Channel(int descriptor) : descriptor_(descriptor) {
  fcntl(descriptor_, F_SETFL, fcntl(descriptor_, F_GETFL) | O_NONBLOCK);
}

Channel& Channel::operator=(Channel&& other) noexcept {
  close();
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

void Channel::close() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

bool Channel::is_stale() const {
  char byte;
  const ssize_t count = recv(descriptor_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return count >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

void Channel::wait(int events) {
  while (true) {
    const int happened = pg([&] {
      return WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | events, descriptor_, -1, PG_WAIT_EXTENSION);
    });
    if (happened & WL_LATCH_SET) {
      ResetLatch(MyLatch);
      check_for_interrupts();
    }
    if (happened & events) return;
  }
}

void Channel::send(const Message& message) {
  const Blob frame = encode_frame(message);
  std::size_t sent = 0;
  while (sent < frame.size()) {
    const ssize_t count = ::send(descriptor_, frame.data() + sent, frame.size() - sent, MSG_NOSIGNAL);
    if (count > 0) {
      sent += static_cast<std::size_t>(count);
    } else if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      wait(WL_SOCKET_WRITEABLE);
    } else if (count == 0 || errno != EINTR) {
      throw_gone();
    }
  }
}

void Channel::read_exactly(std::uint8_t* data, std::size_t size) {
  std::size_t have = 0;
  while (have < size) {
    const ssize_t count = recv(descriptor_, data + have, size - have, 0);
    if (count > 0) {
      have += static_cast<std::size_t>(count);
    } else if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      wait(WL_SOCKET_READABLE);
    } else if (count == 0 || errno != EINTR) {
      throw_gone();
    }
  }
}

Message Channel::receive() {
  std::array<std::uint8_t, kFrameHeaderSize> head;
  read_exactly(head.data(), head.size());
  const FrameHeader header = decode_frame_header(head);
  Blob body(header.body_size);
  read_exactly(body.data(), body.size());
  return decode_body(header, body);
}

}  // namespace imagecalc
