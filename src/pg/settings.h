// The extension's settings. None needs shared_preload_libraries.
#pragma once

#include "codec/picture.h"

namespace imagecalc {

extern int setting_max_pixels;           // imagecalc.max_pixels: pictures above it are refused before they are decoded
extern int setting_compression_level;    // imagecalc.compression_level: effort of every encode, 1..19
extern int setting_runner_threads;       // imagecalc.runner_threads: of the serving runner; 0 is one a core
extern int setting_decode_threads;       // imagecalc.decode_threads: of the serving runner; 0 is the cores that models leave
extern int setting_model_cache;          // imagecalc.model_cache: MB of models that the serving runner keeps
extern int setting_runner_memory;        // imagecalc.runner_memory: MB that the serving runner's requests may take
extern int setting_runner_idle_timeout;  // imagecalc.runner_idle_timeout: seconds without requests until it ends; 0 is never
extern int setting_batch_wait;           // imagecalc.batch_wait: microseconds that requests may wait for those of others
extern int setting_awake_wait;           // imagecalc.awake_wait: microseconds that a session is awake before one image's scores are due
extern int setting_max_design_workers;   // imagecalc.max_design_workers: designs at work at a time, others wait
extern int setting_trainer_threads;      // imagecalc.trainer_threads: of a training runner; 0 is one a core
extern int setting_trainer_memory;       // imagecalc.trainer_memory: MB of pictures that a training runner keeps in memory
extern bool setting_enable_batch_infer;  // imagecalc.enable_batch_infer: whether plans get batching nodes
extern bool setting_enable_parallel_infer;  // imagecalc.enable_parallel_infer: whether queries with calls get workers
extern int setting_engine;               // imagecalc.engine: an EngineChoice, which library runs the models
extern char* setting_device;             // imagecalc.device: where models run, as parse_device() reads it
extern bool setting_device_decode;       // imagecalc.device_decode: whether a device decodes values itself
extern int setting_inference_precision;  // imagecalc.inference_precision: an InferencePrecision
extern int setting_batch_size;           // imagecalc.batch_size: most rows in a request

// automatic: bfloat16 for models whose accuracy is known to suffer little by it.
enum class InferencePrecision { f32, automatic };

Limits current_limits();
int resolve_threads(int setting);

}  // namespace imagecalc
