#include "runner/train/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "format/error.h"

namespace imagecalc {

Blob Kept::read() const {
  if (!spool_) return bytes_;
  Blob bytes(size_);
  for (std::size_t done = 0; done < size_;) {
    const ssize_t count = ::pread(spool_->file_, bytes.data() + done, size_ - done, static_cast<off_t>(offset_ + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw std::system_error(count < 0 ? errno : EIO, std::generic_category(), "could not read the spool file");
    done += static_cast<std::size_t>(count);
  }
  return bytes;
}

Spool::~Spool() {
  if (file_ >= 0) ::close(file_);
}

Kept Spool::keep(Blob bytes) {
  if (bytes.size() <= memory_) {
    memory_ -= bytes.size();
    return bytes;
  }
  Kept kept;
  kept.size_ = bytes.size();
  kept.spool_ = this;
  kept.offset_ = end_;
  write(bytes);
  return kept;
}

// The server removes what begins with pgsql_tmp from its folder for temporary files when it starts.
void Spool::open() {
  std::string path = folder_ + "/pgsql_tmp.imagecalc.XXXXXX";
  file_ = ::mkostemp(path.data(), O_CLOEXEC);
  if (file_ < 0) throw_full("could not make a spool file in " + folder_);
  ::unlink(path.c_str());
}

void Spool::write(const Blob& bytes) {
  if (file_ < 0) open();
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t count = ::pwrite(file_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(end_ + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_full("could not write the spool file in " + folder_ + " past " + std::to_string(end_ / 1'000'000) + " MB");
    done += static_cast<std::size_t>(count);
  }
  end_ += bytes.size();
}

void Spool::throw_full(const std::string& what) const {
  throw Error(Fault::limit_exceeded, what + ": " + std::strerror(errno),
              "Free some space there, or lower max_images or size; imagecalc.trainer_memory says how much stays in memory.");
}

}  // namespace imagecalc
