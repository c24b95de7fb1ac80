#include "runner/engine/engine.h"

namespace imagecalc {

namespace {

constexpr std::string_view kNames[] = {"auto", "libtorch", "openvino"};

}  // namespace

std::string_view to_string(EngineChoice choice) { return kNames[static_cast<std::size_t>(choice)]; }

std::optional<EngineChoice> parse_engine_choice(std::string_view text) {
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    if (text == kNames[i]) return static_cast<EngineChoice>(i);
  }
  return std::nullopt;
}

}  // namespace imagecalc
