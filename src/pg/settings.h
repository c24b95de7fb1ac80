// The extension's settings. None needs shared_preload_libraries.
#pragma once

#include "codec/picture.h"

namespace imagecalc {

extern int setting_max_pixels;         // imagecalc.max_pixels: pictures above it are refused before they are decoded
extern int setting_compression_level;  // imagecalc.compression_level: effort of every encode, 1..19
extern int setting_runner_threads;     // imagecalc.runner_threads: of the serving runner; 0 is one a core
extern int setting_trainer_threads;    // imagecalc.trainer_threads: of a training runner; 0 is one a core

Limits current_limits();
int resolve_threads(int setting);

}  // namespace imagecalc
