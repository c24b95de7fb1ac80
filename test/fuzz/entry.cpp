// Where libFuzzer enters a target.
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  imagecalc::fuzz::read({data, size});
  return 0;
}
