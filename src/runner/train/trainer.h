// `imagecalc-runner --train`: the conversation with one design job.
#pragma once

#include <string>

namespace imagecalc {

// Answers requests from `in` on `out` until `in` ends. device_plugin: the file of the plug-in with the devices (device/device.h).
void train(int in, int out, const std::string& device_plugin);

}  // namespace imagecalc
