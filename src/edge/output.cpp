#include "edge/output.h"

#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace imagecalc {
namespace {

[[noreturn]] void fail() { throw std::system_error(errno, std::generic_category(), "could not write the output"); }

}  // namespace

void Output::write(Bytes bytes) {
  if (buffer_.size() + bytes.size() > kCapacity) flush();
  if (bytes.size() > kCapacity) {
    write_through(bytes);
  } else {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }
}

void Output::finish() {
  flush();
  if (::close(descriptor_) != 0) fail();
}

void Output::write_through(Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail();
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void Output::flush() {
  write_through(buffer_);
  buffer_.clear();
}

}  // namespace imagecalc
