// Messages over file descriptors, and what every part of the runner needs beside them.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <string_view>

#include "protocol/messages.h"

namespace imagecalc {

// A pair of file descriptors that it does not own; both may be the same socket. One thread receives; another may send.
class Channel {
 public:
  Channel(int in, int out) : in_(in), out_(out) {}

  // Whether receive() would begin at once: also at the end of the stream.
  bool has_input() const;

  // Waits for a whole message; nothing at the end of the stream. Throws Error(protocol).
  std::optional<Message> receive();

  // The same in two steps, between which the rest can be waited with, or passed over: false at the end of the stream.
  struct Incoming {
    FrameHeader header;
    Blob body;  // its beginning, at least outline_size() bytes of it where it has so many
  };
  std::optional<Incoming> begin();
  std::optional<Message> finish(Incoming incoming);
  bool skip(const Incoming& incoming);

  // Throws Error(unavailable) when the other side has gone.
  void send(const Message& message);
  // Answers the Hello that opens a conversation; false where there is nothing more to say.
  bool greet();

 private:
  bool read_all(std::uint8_t* data, std::size_t size);

  int in_, out_;
  // What the last read brought beyond what was asked for: a short message takes one system call instead of three.
  std::array<std::uint8_t, 16 << 10> ahead_;
  std::size_t ahead_begin_ = 0, ahead_end_ = 0;
};

// Requested once the other side of a pipe or socket has closed it. Cheap: it looks at most every few milliseconds.
class HangUp : public Interrupt {
 public:
  explicit HangUp(int fd) : fd_(fd) {}
  bool requested() const noexcept override;

 private:
  int fd_;
  mutable std::atomic<bool> gone_ = false;
  mutable std::atomic<std::chrono::steady_clock::time_point> next_look_{};
};

// The exception being handled, as a message to the other side.
Failure current_failure(std::int32_t item = -1);

// One line on standard error.
void log_line(std::string_view text);

}  // namespace imagecalc
