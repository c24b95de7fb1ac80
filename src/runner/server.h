// `imagecalc-runner --serve`: a Unix socket, a thread for each connection.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>

#include "runner/engine/engine.h"

namespace imagecalc {

struct ServeOptions {
  std::string socket_path;
  int lifeline = -1;  // the read end of a pipe: its end of file says that the supervisor has gone
  int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::size_t cache_bytes = std::size_t{2} << 30;
  EngineChoice engine = EngineChoice::automatic;
  std::chrono::microseconds batch_wait{0};  // how long a request may wait for those of other sessions
};

// Serves until the lifeline ends or stop_fd becomes readable; requests in flight then have a second to finish.
void serve(const ServeOptions& options, int stop_fd);

}  // namespace imagecalc
