// WebP files. Most mutants get a RIFF size that is right, so that what lies behind it is reached.
#include "read_picture.h"

namespace imagecalc::fuzz {
namespace {

constexpr std::size_t kRiffHeaderSize = 8;  // "RIFF" and how many bytes follow

void seal(std::span<std::uint8_t> file) {
  if (file.size() < kRiffHeaderSize) return;
  for (int n = 0; n < 4; ++n) file[4 + n] = static_cast<std::uint8_t>((file.size() - kRiffHeaderSize) >> 8 * n);
}

}  // namespace
}  // namespace imagecalc::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  imagecalc::fuzz::read({data, size});
  return 0;
}

std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 16 != 0) imagecalc::fuzz::seal({data, size});
  return size;
}
