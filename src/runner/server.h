// `imagecalc-runner --serve`: a Unix socket, a thread for each connection.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <thread>


namespace imagecalc {

struct ServeOptions {
  std::string socket_path;
  int lifeline = -1;  // the read end of a pipe: its end of file says that the supervisor has gone
  int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::size_t cache_bytes = std::size_t{2} << 30;
};

// Serves until the lifeline ends or stop_fd becomes readable; requests in flight then have a second to finish.
void serve(const ServeOptions& options, int stop_fd);

}  // namespace imagecalc
