#include "runner/device/device_guard.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "runner/engine/torch_module.h"

namespace imagecalc {

namespace {

// CUDA's words, cuBLAS's and cuDNN's; LibTorch's where cuDNN has tried all its ways to convolve and there was no room for any.
constexpr std::string_view kOutOfMemory[] = {"out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED", "unable to find an engine"};
// After some of these nothing else works on the device in this process; others concern one call, as what a recording may not do.
constexpr std::string_view kFailure = "CUDA error";

bool has(std::string_view text, std::string_view words) { return text.find(words) != text.npos; }

}  // namespace

void rethrow_for(Backend& backend) {
  try {
    rethrow_as_bad_model("the model failed on the device");
  } catch (const Error& error) {
    const bool is_torchs = error.fault() == Fault::bad_model;
    auto said = [&](std::string_view words) { return is_torchs && has(error.what(), words); };
    if (std::any_of(std::begin(kOutOfMemory), std::end(kOutOfMemory), said)) {
      throw Error(Fault::out_of_memory, "the memory of " + backend.name() + " is too small: " + error.what(),
                  "Use fewer models or sessions on this device, a smaller imagecalc.batch_size, or imagecalc.device = 'cpu'.");
    }
    if (error.fault() != Fault::no_device && (!said(kFailure) || backend.answers())) throw;
    backend.has_failed = true;
    throw Error(Fault::no_device, backend.name() + " has failed: " + error.what(),
                "imagecalc-runner starts again; where that does not help, set imagecalc.device to 'cpu'.");
  }
  __builtin_unreachable();
}

}  // namespace imagecalc
