// A plug-in for tests: the CPU, as two devices. IMAGECALC_TEST_BUILD: the build that it says it is of.
// In the environment, IMAGECALC_TEST_NO_DRIVER makes it fail as CUDA does without a driver.
#include <cstdlib>

#include "format/error.h"
#include "host_backend.h"
#include "runner/device/plugin.h"

#ifndef IMAGECALC_TEST_BUILD
#define IMAGECALC_TEST_BUILD kPluginBuild
#endif

namespace imagecalc {

extern "C" {

__attribute__((visibility("default"))) extern const char* const imagecalc_device_build;
const char* const imagecalc_device_build = IMAGECALC_TEST_BUILD;

__attribute__((visibility("default"))) Backends imagecalc_open_devices() {
  if (std::getenv("IMAGECALC_TEST_NO_DRIVER")) throw Error(Fault::no_device, "there is no driver");
  Backends backends;
  for (const char* name : {"cuda:0", "cuda:1"}) backends.push_back(std::make_unique<test::HostBackend>(name));
  return backends;
}
}

}  // namespace imagecalc
