// `imagecalc-runner --serve`: a Unix socket, a thread for each connection.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>

namespace imagecalc {

struct ServeOptions {
  std::string socket_path;
  int lifeline = -1;  // the read end of a pipe: its end of file says that the supervisor has gone
  int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  int decode_threads = 0;  // that decode a request; 0: as many as there are cores left by the models, or cores at all
  std::size_t cache_bytes = std::size_t{2} << 30;
  std::size_t request_bytes = std::size_t{1} << 30;  // that the requests at hand may take; what finds no room waits
  std::chrono::milliseconds request_patience{10'000};  // for so long while none is answered; then it is refused
  std::chrono::microseconds batch_wait{0};  // how long a session is waited for, at most: see Batcher
  std::chrono::seconds idle_timeout{0};     // how long to wait for a request; 0: for ever
  std::string device_plugin;                // the file of the plug-in that brings devices
};

// Serves until the lifeline ends, stop_fd (an eventfd) becomes readable, no request comes for too long, or a device has failed that
// a request insists on. Then sessions can send nothing
// more, and what they have sent is answered: it has half a minute, and a second once the lifeline has ended.
void serve(const ServeOptions& options, int stop_fd);

}  // namespace imagecalc
