// What must be in imagecalc-runner's environment when it starts: libraries read it once, before main.
#pragma once

#include <stdlib.h>

#include <array>
#include <cstring>

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

// Whether anything had another value, or none.
inline bool set_runner_environment() {
  bool changed = false;
  for (const auto& [name, value] : kRunnerEnvironment) {
    const char* was = ::getenv(name);
    changed |= !was || std::strcmp(was, value) != 0;
    ::setenv(name, value, 1);
  }
  return changed;
}

}  // namespace imagecalc
