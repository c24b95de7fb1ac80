// Messages between Postgres and the runner.
#include <cstring>

#include "fuzz.h"
#include "protocol/messages.h"

namespace imagecalc::fuzz {
namespace {

Message decode_frame(Input frame) {
  const FrameHeader header = decode_frame_header(frame.first<kFrameHeaderSize>());
  return decode_body(header, frame.subspan(kFrameHeaderSize));
}

}  // namespace

void read(Input frame) {
  if (frame.size() < kFrameHeaderSize) return;
  Message message;
  if (!attempt({Fault::protocol}, [&] { message = decode_frame(frame); })) return;
  const Blob written = encode_frame(message);
  require(std::equal(written.begin(), written.end(), frame.begin(), frame.end()), "a message has one form");
}

// The length.
void seal(std::span<std::uint8_t> frame) {
  if (frame.size() < kFrameHeaderSize) return;
  const auto length = static_cast<std::uint32_t>(frame.size() - sizeof(std::uint32_t));
  std::memcpy(frame.data(), &length, sizeof length);
}

}  // namespace imagecalc::fuzz
