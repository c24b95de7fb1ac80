#include "codec/cpu.h"

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include <hwy/highway.h>
#include <hwy/targets.h>
#if HWY_ARCH_X86
#include <cpuid.h>
#endif

#include "format/error.h"

namespace imagecalc {
namespace {

std::atomic<std::int64_t> forced_targets = 0;

#if HWY_ARCH_X86
bool converts_halves() {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

// What Highway's headers let the compiler use for each target.
std::int64_t find_targets() {
  __builtin_cpu_init();
  std::int64_t targets = HWY_STATIC_TARGET;
  if (!__builtin_cpu_supports("ssse3")) return targets;
  targets |= HWY_SSSE3;
  if (!__builtin_cpu_supports("sse4.1") || !__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("pclmul") ||
      !__builtin_cpu_supports("aes")) {
    return targets;
  }
  targets |= HWY_SSE4;
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2") ||
      !__builtin_cpu_supports("fma") || !converts_halves()) {
    return targets;
  }
  targets |= HWY_AVX2;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512bw")) {
    return targets;
  }
  return targets | HWY_AVX3;
}
#else
std::int64_t find_targets() { return HWY_STATIC_TARGET; }
#endif

std::int64_t found_targets() {
  static const std::int64_t found = find_targets();
  return found;
}

// Highway's bits of the paths that were compiled and that this CPU runs; a lower bit is a better path. The baseline was
// compiled too, whatever it is called, and any CPU runs it.
std::vector<std::int64_t> usable_targets() {
  std::vector<std::int64_t> usable;
  for (std::int64_t rest = found_targets() & HWY_TARGETS; rest != 0; rest &= rest - 1) usable.push_back(rest & -rest);
  return usable;
}

void use(std::int64_t targets) {
  forced_targets = targets;
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace

std::vector<std::string> cpu_paths() {
  std::vector<std::string> names;
  for (const std::int64_t target : usable_targets()) names.push_back(hwy::TargetName(target));
  return names;
}

void force_cpu_path(const std::string& name) {
  const std::vector<std::int64_t> targets = usable_targets();
  if (name.empty()) return use(0);
  for (const std::int64_t target : targets) {
    if (hwy::TargetName(target) == name) return use(target);
  }
  throw Error(Fault::invalid_argument, "this CPU has no path \"" + name + "\"");
}

}  // namespace imagecalc

// What Highway's headers ask of its library, which is not linked: as it is loaded it tries out the CPU's clock for 4 ms,
// twice as long as all else that a session's first query does.
namespace hwy {

int64_t SupportedTargets() {
  const std::int64_t forced = imagecalc::forced_targets;
  return forced != 0 ? forced : imagecalc::found_targets();
}

ChosenTarget& GetChosenTarget() {
  static ChosenTarget chosen;
  return chosen;
}

// Of assertions in builds that have them.
void Abort(const char* file, int line, const char* format, ...) {
  std::fprintf(stderr, "%s:%d: ", file, line);
  std::va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  std::abort();
}

}  // namespace hwy
