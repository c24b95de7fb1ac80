// A file descriptor to write to, with a buffer; every failure to write is an exception.
#pragma once

#include <cstdint>
#include <vector>

#include "codec/picture.h"

namespace imagecalc {

class Output {
 public:
  explicit Output(int descriptor) : descriptor_(descriptor) { buffer_.reserve(kCapacity); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Throws std::system_error.
  void write(Bytes bytes);

  // Writes what is buffered and closes the descriptor: some file systems tell only then that the disk is full. What was
  // not finished is lost with the object.
  void finish();

 private:
  static constexpr std::size_t kCapacity = 256 << 10;

  void write_through(Bytes bytes);
  void flush();

  int descriptor_;
  std::vector<std::uint8_t> buffer_;
};

}  // namespace imagecalc
