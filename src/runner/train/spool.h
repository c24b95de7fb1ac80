// Bytes that a training job reads again and again: in memory as far as that goes, the rest in a file.
#pragma once

#include <cstdint>
#include <string>

#include "protocol/wire.h"

namespace imagecalc {

class Spool;

// Bytes that were kept. Those of a spool live no longer than it.
class Kept {
 public:
  Kept() = default;
  Kept(Blob bytes) : bytes_(std::move(bytes)), size_(bytes_.size()) {}

  std::size_t size() const { return size_; }
  // A copy. May be called by several threads at once. Throws std::system_error where the file cannot be read.
  Blob read() const;

 private:
  friend class Spool;
  Blob bytes_;
  std::size_t size_ = 0;
  const Spool* spool_ = nullptr;  // where they are, unless in bytes_
  std::uint64_t offset_ = 0;
};

class Spool {
 public:
  // memory: bytes that stay there. folder: of the file, which is made when it is needed, has no name, and goes with the process.
  Spool(std::uint64_t memory, std::string folder) : memory_(memory), folder_(std::move(folder)) {}
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // By one thread at a time. Error(limit_exceeded) where the file cannot be made or written, as on a full disk.
  Kept keep(Blob bytes);

  std::uint64_t memory_left() const { return memory_; }
  std::uint64_t file_size() const { return end_; }

 private:
  friend class Kept;
  void open();
  void write(const Blob& bytes);
  [[noreturn]] void throw_full(const std::string& what) const;

  std::uint64_t memory_;  // what is left of it
  const std::string folder_;
  int file_ = -1;
  std::uint64_t end_ = 0;
};

}  // namespace imagecalc
