#include "pg/trainer.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "pg/process.h"
#include "pg/runner_client.h"

namespace imagecalc {

Trainer::Trainer() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw Error(Fault::unavailable, std::string("could not create a socket pair: ") + strerror(errno));
  channel_ = Channel(ends[0]);
  try {
    pid_ = spawn_runner({"--train"}, {.in = ends[1], .out = ends[1], .lifeline = -1});
  } catch (...) {
    close(ends[1]);
    throw;
  }
  close(ends[1]);
  ask_for<Done>(Hello{});
}

Trainer::~Trainer() {
  channel_.close();
  if (pid_ > 0) end_runner(pid_, 0);
}

Message Trainer::ask(const Message& request, const OnProgress& on_progress) {
  channel_.send(request);
  while (true) {
    Message reply = channel_.receive();
    if (const Failure* failure = std::get_if<Failure>(&reply)) throw_failure(*failure);
    const Progress* progress = std::get_if<Progress>(&reply);
    if (!progress) return reply;
    if (on_progress) on_progress(*progress);
  }
}

}  // namespace imagecalc
