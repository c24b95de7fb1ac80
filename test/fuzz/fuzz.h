// What the fuzz targets share: what a reader may answer to any bytes, and what it may not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <span>

#include "format/error.h"

namespace imagecalc::fuzz {

using Input = std::span<const std::uint8_t>;

// A broken promise is a finding, as a crash is.
inline void require(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

// Whether the action comes to its end. It may throw an Error of the faults named, with a message; anything else it throws
// is a finding.
template <typename Action>
bool attempt(std::initializer_list<Fault> allowed, Action action) {
  try {
    action();
    return true;
  } catch (const Error& error) {
    for (Fault fault : allowed) {
      if (error.fault() == fault && error.what()[0] != '\0') return false;
    }
    std::fprintf(stderr, "an Error of fault %d: %s\n", static_cast<int>(error.fault()), error.what());
    std::abort();
  }
}

// Says stop at one of the times that it is asked.
class StopAt final : public Interrupt {
 public:
  explicit StopAt(std::size_t time) : left_(time) {}
  bool requested() const noexcept override { return left_ == 0 || --left_ == 0; }

 private:
  mutable std::size_t left_;
};

// A target defines what is done with an input ...
void read(Input input);

// ... and, where it says SEALED in CMakeLists.txt, how an input's lengths and checksums are made right again.
void seal(std::span<std::uint8_t> input);

}  // namespace imagecalc::fuzz
