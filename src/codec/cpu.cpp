#include "codec/cpu.h"

#include <hwy/highway.h>
#include <hwy/targets.h>

#include "format/error.h"

namespace imagecalc {
namespace {

// Highway's bits of the paths that were compiled and that this CPU runs; a lower bit is a better path. The baseline was
// compiled too, whatever it is called, and any CPU runs it.
std::vector<std::int64_t> usable_targets() {
  static const std::vector<std::int64_t> targets = [] {
    std::vector<std::int64_t> usable;
    for (std::int64_t rest = (hwy::SupportedTargets() & HWY_TARGETS) | HWY_STATIC_TARGET; rest != 0; rest &= rest - 1) {
      usable.push_back(rest & -rest);
    }
    return usable;
  }();
  return targets;
}

void use(std::int64_t targets) {
  hwy::SetSupportedTargetsForTest(targets);
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
