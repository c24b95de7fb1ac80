// How the readers of stored values refuse one.
#pragma once

#include <string>

#include "format/error.h"

namespace imagecalc {

[[noreturn]] inline void corrupt(const std::string& what) {
  throw Error(Fault::corrupt_value, "corrupt image value: " + what, "Write the value again from its picture.");
}

}  // namespace imagecalc
