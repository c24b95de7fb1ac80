// JPEG files.
#include "read_picture.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  imagecalc::fuzz::read({data, size});
  return 0;
}
