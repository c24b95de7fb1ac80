// Postgres' binary COPY format, for rows (file text, image icimage).
//
//   header   PGCOPY\n\377\r\n\0, flags (int32), length of the header's extension (int32)
//   a row    number of fields (int16), and for each its length (int32) and its bytes
//   trailer  -1 (int16)
//
// All integers big-endian. The binary form of an icimage is the stored value.
#pragma once

#include <string_view>

#include "codec/picture.h"
#include "edge/output.h"

namespace imagecalc {

class CopyStream {
 public:
  // Writes the header.
  explicit CopyStream(Output& output);

  void write_row(std::string_view file, Bytes value);
  void write_trailer();

 private:
  void write_field(Bytes bytes);

  Output& output_;
};

// A datum of Postgres takes at most this much.
inline constexpr std::size_t kMaxFieldSize = (std::size_t{1} << 30) - 1 - 4;

// Whether Postgres takes the text where the client encoding is UTF8: no overlong forms, no surrogates, no zero byte.
bool is_utf8_text(std::string_view text);

}  // namespace imagecalc
