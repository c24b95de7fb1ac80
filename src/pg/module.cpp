// The module's magic and its settings.
#include <thread>

#include "codec/value.h"
#include "pg/infer_hooks.h"
#include "pg/postgres_api.h"
#include "pg/settings.h"
#include "protocol/messages.h"

extern "C" {
PG_MODULE_MAGIC;
PGDLLEXPORT void _PG_init(void);
}

namespace imagecalc {

int setting_max_pixels = 100'000'000;
int setting_compression_level = kDefaultCompressionLevel;
int setting_runner_threads = 0;
int setting_decode_threads = 0;
int setting_model_cache = 2048;
int setting_runner_memory = 1024;
int setting_runner_idle_timeout = 0;
int setting_batch_wait = 1000;
int setting_awake_wait = 1000;
int setting_max_design_workers = 2;
int setting_trainer_threads = 0;
int setting_trainer_memory = 1024;
bool setting_enable_batch_infer = true;
bool setting_enable_parallel_infer = false;
int setting_engine = static_cast<int>(EngineChoice::automatic);
char* setting_device = nullptr;
bool setting_device_decode = false;
int setting_inference_precision = static_cast<int>(InferencePrecision::f32);
int setting_batch_size = 128;

namespace {

const config_enum_entry kEngines[] = {{"auto", static_cast<int>(EngineChoice::automatic), false},
                                      {"libtorch", static_cast<int>(EngineChoice::libtorch), false},
                                      {"openvino", static_cast<int>(EngineChoice::openvino), false},
                                      {nullptr, 0, false}};
const config_enum_entry kPrecisions[] = {{"f32", static_cast<int>(InferencePrecision::f32), false},
                                         {"auto", static_cast<int>(InferencePrecision::automatic), false},
                                         {nullptr, 0, false}};

bool check_device(char** value, void**, GucSource) {
  try {
    parse_device(*value);
    return true;
  } catch (...) {
  }
  GUC_check_errhint("Use auto, cpu, cuda or cuda:N.");
  return false;
}

}  // namespace

Limits current_limits() {
  Limits limits;
  limits.max_pixels = setting_max_pixels;
  return limits;
}

int resolve_threads(int setting) {
  if (setting > 0) return setting;
  const unsigned cores = std::thread::hardware_concurrency();
  return cores > 0 ? static_cast<int>(cores) : 1;
}

}  // namespace imagecalc

void _PG_init(void) {
  using namespace imagecalc;
  DefineCustomIntVariable("imagecalc.max_pixels", "Largest picture that is decoded, in pixels.",
                          "A picture whose header claims more is refused before memory is asked for.", &setting_max_pixels,
                          100'000'000, 1, INT_MAX, PGC_SUSET, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("imagecalc.compression_level", "Effort of compressing icimage values.",
                          "It changes their size, never the coefficients.", &setting_compression_level,
                          kDefaultCompressionLevel, 1, 19, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("imagecalc.runner_threads", "Threads of the serving runner; 0 is one a core.", nullptr,
                          &setting_runner_threads, 0, 0, 1024, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("imagecalc.decode_threads",
                          "Threads of the serving runner that decode a request; 0 is one a core that models leave.",
                          "Where imagecalc.runner_threads takes all cores, 0 is one a core.", &setting_decode_threads, 0, 0,
                          1024, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("imagecalc.model_cache", "Memory of the models that the serving runner keeps, about.",
                          "Those used least recently go first; the last one stays.", &setting_model_cache, 2048, 0,
                          1024 * 1024, PGC_SIGHUP, GUC_UNIT_MB, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("imagecalc.runner_memory", "Memory that the requests in the serving runner may take.",
                          "Others wait for room, and fail when none comes free for 10 seconds.", &setting_runner_memory,
                          1024, 1, 1024 * 1024, PGC_SIGHUP, GUC_UNIT_MB, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("imagecalc.runner_idle_timeout",
                          "How long the serving runner waits for requests until it ends; 0 is for ever.",
                          "The next request starts another one.", &setting_runner_idle_timeout, 0, 0, 7 * 24 * 3600,
                          PGC_SIGHUP, GUC_UNIT_S, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("imagecalc.batch_wait", "Microseconds that a small request may wait for those of other sessions.",
                          "They go through the model together. Only sessions that ask again soon after an answer are waited for.",
                          &setting_batch_wait, 1000, 0, 1'000'000, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("imagecalc.awake_wait",
                          "Microseconds that a session stays awake before one image's scores are due, and after.",
                          "They are due when the last ones came; a session that is not alone sleeps all the time.",
                          &setting_awake_wait, 1000, 0, 1'000'000, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("imagecalc.max_design_workers", "Designs that may be at work on the server at a time.",
                          "Others wait until one of these has ended.", &setting_max_design_workers, 2, 1, 1024, PGC_SIGHUP, 0,
                          nullptr, nullptr, nullptr);
  DefineCustomIntVariable("imagecalc.trainer_threads", "Threads of a design's training runner; 0 is one a core.", nullptr,
                          &setting_trainer_threads, 0, 0, 1024, PGC_SUSET, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("imagecalc.trainer_memory", "Memory for the pictures of a design's training runner.",
                          "Those for which there is no room wait in a temporary file.", &setting_trainer_memory, 1024, 1,
                          1024 * 1024, PGC_SUSET, GUC_UNIT_MB, nullptr, nullptr, nullptr);
  DefineCustomBoolVariable("imagecalc.enable_batch_infer", "Lets plans run ic_infer and ic_scores over batches of rows.",
                           "Off, each row is a request of its own; the results are the same.",
                           &setting_enable_batch_infer, true, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  DefineCustomBoolVariable("imagecalc.enable_parallel_infer", "Lets the workers of parallel plans infer.",
                           "They share the one runner: it pays where reading rows takes longer than the model.",
                           &setting_enable_parallel_infer, false, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("imagecalc.batch_size", "Most rows that a plan sends to the runner at once.",
                          "Fewer where they are large, and where a LIMIT may make them superfluous.", &setting_batch_size,
                          128, 1, 4096, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  DefineCustomEnumVariable("imagecalc.engine", "Which library runs the models.",
                           "auto is what is set for the model, or whichever is the fastest. Where one cannot run a model "
                           "LibTorch does; ic_stat_models says why.",
                           &setting_engine, static_cast<int>(EngineChoice::automatic), kEngines, PGC_USERSET, 0, nullptr,
                           nullptr, nullptr);
  DefineCustomStringVariable("imagecalc.device", "Where models run: auto, cpu, cuda or cuda:N.",
                             "auto is what is set for the model, or a GPU where imagecalc-runner has one that can run it, else "
                             "the CPU; ic_stat_runner tells which there are.",
                             &setting_device, "auto", PGC_USERSET, 0, check_device, nullptr, nullptr);
  DefineCustomBoolVariable("imagecalc.device_decode", "Lets a GPU decode icimage values itself.",
                           "What crosses to it are then the stored bytes; else their coefficients, a byte each.",
                           &setting_device_decode, false, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  DefineCustomEnumVariable("imagecalc.inference_precision", "Whether models may compute in bfloat16.",
                           "auto lets those for which a design measured that it hardly costs accuracy, where it is faster.",
                           &setting_inference_precision, static_cast<int>(InferencePrecision::f32), kPrecisions,
                           PGC_USERSET, 0, nullptr, nullptr, nullptr);
  MarkGUCPrefixReserved("imagecalc");
  install_infer_hooks();
}
