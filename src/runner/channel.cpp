#include "runner/channel.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <string>

namespace imagecalc {

namespace {

// How much memory a message may ask for before its bytes arrive.
constexpr std::size_t kReadStep = 1 << 20;

}  // namespace

bool Channel::read_all(std::uint8_t* data, std::size_t size) {
  while (size > 0) {
    if (ahead_begin_ < ahead_end_) {
      const std::size_t step = std::min(size, ahead_end_ - ahead_begin_);
      data = std::copy_n(ahead_.data() + ahead_begin_, step, data);
      ahead_begin_ += step;
      size -= step;
      continue;
    }
    const bool is_large = size >= ahead_.size();
    const ssize_t got = is_large ? ::read(in_, data, size) : ::read(in_, ahead_.data(), ahead_.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    if (is_large) {
      data += got;
      size -= static_cast<std::size_t>(got);
    } else {
      ahead_begin_ = 0;
      ahead_end_ = static_cast<std::size_t>(got);
    }
  }
  return true;
}

bool Channel::has_input() const {
  if (ahead_begin_ < ahead_end_) return true;
  pollfd state{.fd = in_, .events = POLLIN, .revents = 0};
  return ::poll(&state, 1, 0) != 0;
}

std::optional<Message> Channel::receive() {
  auto incoming = begin();
  return incoming ? finish(std::move(*incoming)) : std::nullopt;
}

std::optional<Channel::Incoming> Channel::begin() {
  std::uint8_t bytes[kFrameHeaderSize];
  if (!read_all(bytes, sizeof bytes)) return std::nullopt;
  Incoming incoming{.header = decode_frame_header(bytes), .body = {}};
  incoming.body.resize(std::min<std::size_t>(incoming.header.body_size, outline_size()));
  if (!read_all(incoming.body.data(), incoming.body.size())) return std::nullopt;
  return incoming;
}

std::optional<Message> Channel::finish(Incoming incoming) {
  const std::size_t size = incoming.header.body_size;
  Blob body = std::move(incoming.body);
  while (body.size() < size) {
    std::size_t got = body.size();
    body.resize(std::min(size, std::max(2 * got, kReadStep)));
    if (!read_all(body.data() + got, body.size() - got)) return std::nullopt;
  }
  return decode_body(incoming.header, body);
}

bool Channel::skip(const Incoming& incoming) {
  std::uint8_t bytes[16 << 10];
  for (std::size_t left = incoming.header.body_size - incoming.body.size(); left > 0;) {
    const std::size_t step = std::min(left, sizeof bytes);
    if (!read_all(bytes, step)) return false;
    left -= step;
  }
  return true;
}

void Channel::send(const Message& message) {
  Blob frame = encode_frame(message);
  for (std::size_t sent = 0; sent < frame.size();) {
    ssize_t count = ::write(out_, frame.data() + sent, frame.size() - sent);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw Error(Fault::unavailable, "the other side has closed the connection");
    sent += static_cast<std::size_t>(count);
  }
}

bool Channel::greet() {
  auto message = receive();
  if (!message) return false;
  auto* hello = std::get_if<Hello>(&*message);
  bool welcome = hello && hello->version == kProtocolVersion;
  if (welcome) {
    send(Done{});
  } else {
    send(Failure{Fault::protocol, -1, "imagecalc-runner is of another version than the extension",
                 "Reconnect; where that does not help, restart the server."});
  }
  return welcome;
}

bool HangUp::requested() const noexcept {
  auto now = std::chrono::steady_clock::now();
  if (gone_ || now < next_look_.load()) return gone_;
  next_look_ = now + std::chrono::milliseconds(5);
  pollfd state{.fd = fd_, .events = 0, .revents = 0};
  if (::poll(&state, 1, 0) > 0) gone_ = true;  // POLLHUP: not where only this side takes no more
  return gone_;
}

Failure current_failure(std::int32_t item) {
  try {
    throw;
  } catch (const Error& error) {
    return {error.fault(), item, error.what(), error.hint()};
  } catch (const std::bad_alloc&) {
    return {Fault::out_of_memory, item, "imagecalc-runner is out of memory", "Use smaller pictures, batches or models."};
  } catch (const std::exception& error) {
    return {Fault::internal, item, std::string("imagecalc-runner failed: ") + error.what(), {}};
  } catch (...) {
    return {Fault::internal, item, "imagecalc-runner failed for an unknown reason", {}};
  }
}

void log_line(std::string_view text) {
  std::string line = "imagecalc-runner: " + std::string(text) + "\n";
  [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace imagecalc
