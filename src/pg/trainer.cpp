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

Message Trainer::await_reply(const OnProgress& on_progress) {
  while (true) {
    Message reply = channel_.receive();
    const Progress* progress = std::get_if<Progress>(&reply);
    if (!progress) return reply;
    if (on_progress) on_progress(*progress);
  }
}

Message Trainer::ask(const Message& request, const OnProgress& on_progress) {
  channel_.send(request);
  Message reply = await_reply(on_progress);
  if (const Failure* failure = std::get_if<Failure>(&reply)) throw_failure(*failure);
  return reply;
}

std::vector<Message> Trainer::train(std::vector<Train> requests, const OnProgress& on_progress) {
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].more_follow = i + 1 < requests.size();
    channel_.send(std::move(requests[i]));
  }
  std::vector<Message> replies;
  while (replies.size() < requests.size()) replies.push_back(await_reply(on_progress));
  return replies;
}

}  // namespace imagecalc
