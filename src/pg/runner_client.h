// A session's conversation with the serving runner.
#pragma once

#include <memory>
#include <optional>

#include "protocol/messages.h"

namespace imagecalc {

// Where the runner listens and who may start it, relative to the data directory, which is every backend's working directory.
// Base backups and pg_rewind skip this folder.
inline constexpr char kSocketPath[] = "pg_stat_tmp/imagecalc.sock";
inline constexpr char kLockPath[] = "pg_stat_tmp/imagecalc.lock";

// A request on its way to the serving runner. A session may have several, of one query or of many: the runner answers them
// in order. Who destroys one gives its reply up; once nobody waits any more, the conversation is dropped, and the runner
// drops what it was at.
class PendingReply {
 public:
  // Does not wait for the runner to take the request; starts a runner where none is up.
  explicit PendingReply(const Message& request);
  ~PendingReply();
  PendingReply(PendingReply&&) = default;
  PendingReply& operator=(PendingReply&&) = delete;

  // Can be cancelled. request: the same; it goes to the next runner where this one ended before it took it. Throws what a
  // Failure says, and Error(unavailable) when the runner died meanwhile.
  Message wait(const Message& request);

  struct Place;

 private:
  void post(const Message& request);

  std::shared_ptr<Place> place_;
};

// Sends on what the socket did not take at once, if anything. Cheap, and nothing escapes from it: a runner that is gone is
// noticed by who waits.
void push_requests() noexcept;

// Whether a runner is up. Starts none.
bool runner_is_up();

// Sends a request and waits for its reply.
Message ask_runner(const Message& request);

// The same, where the reply must be a Reply.
template <typename Reply>
Reply ask_runner_for(const Message& request) {
  Message reply = ask_runner(request);
  if (Reply* expected = std::get_if<Reply>(&reply)) return std::move(*expected);
  throw Error(Fault::protocol, "unexpected reply from imagecalc-runner");
}

// Throws what a Failure says.
[[noreturn]] void throw_failure(const Failure& failure);

}  // namespace imagecalc
