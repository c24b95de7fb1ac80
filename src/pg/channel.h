// Frames over a descriptor, in a Postgres process: waits can be cancelled, and end when the other side is gone.
#pragma once

#include "protocol/messages.h"

namespace imagecalc {

class Channel {
 public:
  Channel() = default;
  explicit Channel(int descriptor);  // takes it over; it becomes non-blocking
  ~Channel() { close(); }
  Channel(Channel&& other) noexcept : descriptor_(other.descriptor_) { other.descriptor_ = -1; }
  Channel& operator=(Channel&& other) noexcept;

  bool is_open() const { return descriptor_ >= 0; }
  void close();

  // Whether the other side has hung up, or left something that nobody asked for. Does not wait.
  bool is_stale() const;

  // Both throw Error(unavailable) when the other side is gone.
  void send(const Message& message);
  Message receive();

 private:
  void wait(int events);
  void read_exactly(std::uint8_t* data, std::size_t size);

  int descriptor_ = -1;
};

}  // namespace imagecalc
