// The library beside the runner that holds what needs CUDA: a machine without that runs the same runner without it.
#pragma once

#include <torch/version.h>

#include "runner/device/backend.h"

namespace imagecalc {

// Both sides are built together, with one compiler and one LibTorch. The runner looks for these words in the file before it
// loads it: another LibTorch in the same process could end it.
#define IMAGECALC_PLUGIN_MARK "imagecalc device plug-in"
inline constexpr char kPluginBuild[] = IMAGECALC_PLUGIN_MARK " 1, LibTorch " TORCH_VERSION;

// What the library exports: its build, as imagecalc_device_build, and a function imagecalc_open_devices that gives the devices that
// work, or throws an exception that says why there are none.
using OpenDevices = Backends();

}  // namespace imagecalc
