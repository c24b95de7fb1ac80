// Frames over a descriptor, in a Postgres process: waits can be cancelled, and end when the other side is gone.
#pragma once

#include <chrono>
#include <optional>

#include "protocol/messages.h"

struct WaitEventSet;

namespace imagecalc {

// Whatever is half sent or half received is kept, so that an ERROR or a cancel in between leaves a channel that works.
class Channel {
 public:
  Channel() = default;
  explicit Channel(int descriptor);  // takes it over; it becomes non-blocking
  ~Channel() { close(); }
  Channel(Channel&& other) noexcept { *this = std::move(other); }
  Channel& operator=(Channel&& other) noexcept;

  bool is_open() const { return descriptor_ >= 0; }
  void close();

  // Whether the other side has hung up, or left something that nobody asked for. Does not wait.
  bool is_stale() const;

  // Puts a message on its way without waiting: what the socket does not take now goes with the next call of any of these.
  // All throw Error(unavailable) when the other side is gone.
  void post(const Message& message);
  // A message, if a whole one has come. Does not wait.
  std::optional<Message> poll();
  // Waits until there is reason to call poll again.
  void wait();
  // Whether nothing of what was posted is left here.
  bool has_sent_all() const { return outgoing_.empty(); }
  // As wait() for what is to be received, but so long at most, to some 50 microseconds, where wait() knows milliseconds. It may
  // overlook a cancel until then, and the postmaster's end.
  void wait_briefly(std::chrono::nanoseconds limit);
  // The same without sleeping: a core that has gone to sleep takes longer to wake than a small model to run. Whoever else has
  // work on this core comes first.
  void wait_awake(std::chrono::nanoseconds limit);
  // Sends on what post has left. Asks for no interrupts; false when the other side is gone.
  bool try_push() noexcept;

  void send(const Message& message) { post(message); }
  Message receive();

 private:
  bool read_up_to(std::size_t size);
  void prepare_to_wait();
  void drop_outgoing() noexcept;

  int descriptor_ = -1;
  WaitEventSet* waits_ = nullptr;  // kept: making one takes five system calls
  Blob outgoing_;
  std::size_t sent_ = 0;      // of outgoing_
  Blob incoming_;             // begins with a frame's header; a short message comes whole, maybe with what follows it
  std::size_t received_ = 0;  // of incoming_
};

}  // namespace imagecalc
