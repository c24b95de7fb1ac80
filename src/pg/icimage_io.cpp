// icimage: text and binary input and output, and the type modifier.
#include <cstdio>
#include <string>

#include "pg/datum.h"
#include "pg/icimage.h"
#include "pg/settings.h"
#include "pg/wall.h"

using namespace imagecalc;

namespace imagecalc {

std::optional<Format> typmod_format(int32 typmod) {
  if (typmod < 0) return std::nullopt;
  return unpack(static_cast<std::uint32_t>(typmod));
}

}  // namespace imagecalc

namespace {

const char kHint[] = "Write an icimage value as \\x and the hex digits of its bytes, as it is printed.";

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  throw Error(Fault::corrupt_value, "invalid hexadecimal digit in an icimage value", kHint);
}

std::vector<std::uint8_t> parse_hex(std::string_view text) {
  if (!text.starts_with("\\x")) throw Error(Fault::corrupt_value, "an icimage value must begin with \\x", kHint);
  text.remove_prefix(2);
  if (text.size() % 2) throw Error(Fault::corrupt_value, "an icimage value has an odd number of hexadecimal digits", kHint);
  std::vector<std::uint8_t> bytes(text.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
  return bytes;
}

// Bytes from outside become a value: a stored value is checked in full, a picture file is encoded where the column's format
// is known (COPY gives it to the input function, a literal in a query does not).
Datum accept(Bytes bytes, int32 typmod) {
  const std::optional<Format> format = typmod_format(typmod);
  if (looks_like_picture(bytes)) {
    if (!format)
      throw Error(Fault::corrupt_value, "these are the bytes of a picture file, not of an icimage value",
                  "Give them as bytea and say the format: $1::bytea::icimage('1x1/b32/k6/q50@256'), or insert $1::bytea "
                  "into an icimage column.");
    return bytes_datum(file_to_value(bytes, *format, setting_compression_level));
  }
  const StoredImage image = read_image(bytes, current_limits(), BackendInterrupt());
  if (format && image.header.format != *format) refuse_format(image.header.format, *format);
  return bytes_datum(bytes);
}

}  // namespace

IC_FUNCTION(icimage_in) {
  const char* text = PG_GETARG_CSTRING(0);
  const int32 typmod = PG_GETARG_INT32(2);
  return accept(parse_hex(text), typmod);
}

IC_FUNCTION(icimage_out) {
  static const char digits[] = "0123456789abcdef";
  const struct varlena* value = PG_GETARG_VARLENA_PP(0);
  const Bytes bytes = varlena_bytes(value);
  char* text = static_cast<char*>(allocate(2 * bytes.size() + 3));
  char* end = text;
  *end++ = '\\';
  *end++ = 'x';
  for (const std::uint8_t byte : bytes) {
    *end++ = digits[byte >> 4];
    *end++ = digits[byte & 15];
  }
  *end = '\0';
  return CStringGetDatum(text);
}

IC_FUNCTION(icimage_recv) {
  auto* buffer = reinterpret_cast<StringInfo>(PG_GETARG_POINTER(0));
  const int32 typmod = PG_GETARG_INT32(2);
  const int size = buffer->len - buffer->cursor;
  const char* data = pq_getmsgbytes(buffer, size);
  return accept({reinterpret_cast<const std::uint8_t*>(data), static_cast<std::size_t>(size)}, typmod);
}

IC_FUNCTION(icimage_typmod_in) {
  ArrayType* array = PG_GETARG_ARRAYTYPE_P(0);
  Datum* elements;
  int count;
  deconstruct_array(array, CSTRINGOID, -2, false, TYPALIGN_CHAR, &elements, nullptr, &count);
  if (count != 1)
    throw Error(Fault::bad_format, "icimage takes one modifier, its format",
                "Write it as one string, such as icimage('1x1/b32/k6/q50@256').");
  return Int32GetDatum(static_cast<int32>(pack(parse_format(DatumGetCString(elements[0])))));
}

IC_FUNCTION(icimage_typmod_out) {
  const std::optional<Format> format = typmod_format(PG_GETARG_INT32(0));
  return CStringGetDatum(make_cstring(format ? "('" + to_string(*format) + "')" : ""));
}
