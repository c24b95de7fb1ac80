#include "runner/device/device_guard.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "runner/engine/torch_module.h"

namespace imagecalc {

namespace {

// CUDA's words, cuBLAS's and cuDNN's.
constexpr std::array<std::string_view, 3> kOutOfMemory = {"out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED"};
// After such an error nothing else works on the device in this process.
constexpr std::array<std::string_view, 1> kFailure = {"CUDA error"};

template <std::size_t kCount>
bool has_any(std::string_view text, const std::array<std::string_view, kCount>& words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view word) { return text.find(word) != text.npos; });
}

}  // namespace

void rethrow_for(Backend& backend) {
  try {
    rethrow_as_bad_model("the model failed on the device");
  } catch (const Error& error) {
    if (error.fault() == Fault::bad_model && has_any(error.what(), kOutOfMemory)) {
      throw Error(Fault::out_of_memory, "the memory of " + backend.name() + " is too small: " + error.what(),
                  "Use fewer models or sessions on this device, a smaller imagecalc.batch_size, or imagecalc.device = 'cpu'.");
    }
    if (error.fault() != Fault::no_device && !(error.fault() == Fault::bad_model && has_any(error.what(), kFailure))) throw;
    backend.has_failed = true;
    throw Error(Fault::no_device, backend.name() + " has failed: " + error.what(),
                "imagecalc-runner starts again; where that does not help, set imagecalc.device to 'cpu'.");
  }
  __builtin_unreachable();
}

}  // namespace imagecalc
