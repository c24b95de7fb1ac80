#include "edge/picture_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "codec/encode.h"
#include "edge/copy_stream.h"

namespace imagecalc {
namespace {

constexpr std::size_t kFirstRead = 64 << 10;

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

class Descriptor {
 public:
  explicit Descriptor(const std::string& path) : number_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (number_ < 0) fail("could not open the file");
  }
  ~Descriptor() { ::close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const { return number_; }

 private:
  int number_;
};

// Fills bytes from `size` on; true until the file ends.
bool read_more(int descriptor, std::vector<std::uint8_t>& bytes, std::size_t& size) {
  while (size < bytes.size()) {
    const ssize_t got = ::read(descriptor, bytes.data() + size, bytes.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("could not read the file");
    if (got == 0) return false;
    size += static_cast<std::size_t>(got);
  }
  return true;
}

Coefficients encode_coefficients(Bytes file, const EncodeSettings& settings, const Interrupt& interrupt) {
  return encode_file(file, settings.format, settings.limits, interrupt, settings.orientation);
}

}  // namespace

std::optional<std::vector<std::uint8_t>> load_stream(int descriptor, bool only_pictures) {
  std::vector<std::uint8_t> bytes(kFirstRead);
  std::size_t size = 0;
  bool more = read_more(descriptor, bytes, size);
  if (only_pictures && !looks_like_picture(Bytes(bytes).first(size))) return std::nullopt;
  while (more) {
    if (size > kMaxFieldSize) throw Error(Fault::limit_exceeded, "the file is larger than 1 GB");
    bytes.resize(std::min(2 * bytes.size(), kMaxFieldSize + 1));
    more = read_more(descriptor, bytes, size);
  }
  bytes.resize(size);
  return bytes;
}

std::optional<std::vector<std::uint8_t>> load_file(const std::string& path, bool only_pictures) {
  return load_stream(Descriptor(path).number(), only_pictures);
}

std::vector<std::uint8_t> encode_value(Bytes file, const EncodeSettings& settings, const Interrupt& interrupt) {
  std::vector<std::uint8_t> value = write_value(encode_coefficients(file, settings, interrupt), settings.level, interrupt);
  if (value.size() > kMaxFieldSize) throw Error(Fault::limit_exceeded, "the encoded picture is larger than 1 GB");
  return value;
}

std::vector<std::uint8_t> encode_preview(Bytes file, const EncodeSettings& settings, const Interrupt& interrupt) {
  return write_png(rebuild(encode_coefficients(file, settings, interrupt), interrupt), interrupt);
}

std::string explain(const std::exception& error) {
  const auto* ours = dynamic_cast<const Error*>(&error);
  if (ours == nullptr || ours->hint().empty()) return error.what();
  std::string hint = ours->hint();
  constexpr std::string_view kSetting = "imagecalc.max_pixels";
  if (const auto at = hint.find(kSetting); at != std::string::npos) hint.replace(at, kSetting.size(), "--max-pixels");
  return std::string(error.what()) + ". " + hint;
}

}  // namespace imagecalc
