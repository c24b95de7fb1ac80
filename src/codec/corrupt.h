// How the readers of stored values refuse one.
#pragma once

#include <string>

#include "format/error.h"

namespace imagecalc {

[[noreturn]] inline void corrupt(const std::string& what) {
  throw Error(Fault::corrupt_value, "corrupt image value: " + what, "Write the value again from its picture.");
}

// What only a later version can have written; or else it is damage that cannot be told from that.
[[noreturn]] inline void unknown(const std::string& what) {
  throw Error(Fault::corrupt_value, "image value has " + what + ", which this imagecalc does not know",
              "A newer version of imagecalc may have written it.");
}

}  // namespace imagecalc
