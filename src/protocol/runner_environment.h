// What must be in imagecalc-runner's environment when it starts: libraries read it once, before main.
#pragma once

#include <stdlib.h>

#include <array>

namespace imagecalc {

struct EnvironmentVariable {
  const char* name;
  const char* value;
};

// Where other processes want the cores, idle threads that spin make models 20 times as slow: OpenMP's must sleep, and
// OpenBLAS is to have none.
inline constexpr std::array<EnvironmentVariable, 2> kRunnerEnvironment{{
    {"OMP_WAIT_POLICY", "PASSIVE"},
    {"OPENBLAS_NUM_THREADS", "1"},
}};

// Sets what is not set; what the server was started with is taken for what its administrator wants. Whether there was any.
inline bool complete_runner_environment() {
  bool missing = false;
  for (const auto& [name, value] : kRunnerEnvironment) {
    if (::getenv(name)) continue;
    ::setenv(name, value, 1);
    missing = true;
  }
  return missing;
}

}  // namespace imagecalc
