// A design's training runner: `imagecalc-runner --train`, a child of the design's worker.
#pragma once

#include <sys/types.h>

#include <functional>
#include <vector>

#include "pg/channel.h"

namespace imagecalc {

class Trainer {
 public:
  Trainer();
  ~Trainer();  // ends it at once
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  using OnProgress = std::function<void(const Progress&)>;

  // Trains them together, and waits for what comes of each: TrainReply or Failure, in the order of the requests. Progress is
  // told, and cancelling works, as in ask().
  std::vector<Message> train(std::vector<Train> requests, const OnProgress& on_progress);

  // Sends a request and waits for its reply, telling the progress in between. Can be cancelled. A Failure is thrown as Error.
  Message ask(const Message& request, const OnProgress& on_progress = {});

  template <typename Reply>
  Reply ask_for(const Message& request, const OnProgress& on_progress = {}) {
    Message reply = ask(request, on_progress);
    if (Reply* expected = std::get_if<Reply>(&reply)) return std::move(*expected);
    throw Error(Fault::protocol, "unexpected reply from the training runner");
  }

 private:
  Message await_reply(const OnProgress& on_progress);

  pid_t pid_ = -1;
  Channel channel_;
};

}  // namespace imagecalc
