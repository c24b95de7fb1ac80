// A session's conversation with the serving runner.
#pragma once

#include "protocol/messages.h"

namespace imagecalc {

// Where the runner listens and who may start it, relative to the data directory, which is every backend's working directory.
// Base backups and pg_rewind skip this folder.
inline constexpr char kSocketPath[] = "pg_stat_tmp/imagecalc.sock";
inline constexpr char kLockPath[] = "pg_stat_tmp/imagecalc.lock";

// Sends a request to the serving runner and waits for its reply; starts the runner where none is up. Can be cancelled while
// it waits. A Failure in reply is thrown as Error. Error(unavailable) when the runner dies meanwhile.
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
