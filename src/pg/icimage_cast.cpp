// icimage: casts from picture files, between formats, and back to a picture file.
#include "pg/datum.h"
#include "pg/icimage.h"
#include "pg/settings.h"
#include "pg/wall.h"

using namespace imagecalc;

namespace {

constexpr int kCastQuality = 90;  // of the JPEG that icimage -> bytea gives

}  // namespace

namespace imagecalc {

std::vector<std::uint8_t> file_to_value(Bytes file, const Format& format, int level, Orientation orientation) {
  const BackendInterrupt interrupt;
  const Coefficients coefficients = encode_file(file, format, current_limits(), interrupt, orientation);
  return write_value(coefficients, level, interrupt);
}

void refuse_format(const Format& have, const Format& want) {
  const std::string wanted = to_string(want);
  throw Error(Fault::wrong_format, "value has format " + to_string(have) + " but " + wanted + " is needed",
              "Cast it, which encodes it again and may lose detail: value::icimage('" + wanted + "').");
}

}  // namespace imagecalc

// bytea -> icimage(format). Assignment cast: the format is the column's.
IC_FUNCTION(icimage_from_bytea) {
  const struct varlena* file = PG_GETARG_VARLENA_PP(0);
  const std::optional<Format> format = typmod_format(PG_GETARG_INT32(1));
  if (!format)
    throw Error(Fault::invalid_argument, "cannot encode a picture without a format",
                "Name one: column icimage('1x1/b32/k6/q50@256'), or a cast to it.");
  return bytes_datum(file_to_value(varlena_bytes(file), *format, setting_compression_level));
}

// icimage -> icimage(format): an assignment insists on the format, an explicit cast encodes again.
IC_FUNCTION(icimage_coerce) {
  struct varlena* value = PG_GETARG_VARLENA_PP(0);
  const std::optional<Format> format = typmod_format(PG_GETARG_INT32(1));
  const bool is_explicit = PG_GETARG_BOOL(2);
  if (!format) return PointerGetDatum(value);

  const Format have = read_value_header(varlena_bytes(value), current_limits()).format;
  if (have == *format) return PointerGetDatum(value);
  if (!is_explicit) refuse_format(have, *format);

  check_coded_size(*format, current_limits());
  const BackendInterrupt interrupt;
  const Coefficients old = read_value(varlena_bytes(value), current_limits(), interrupt);
  Coefficients encoded = encode(rebuild(old, interrupt), *format, interrupt);
  if (format->size != 0) {  // a native-size value is its own source
    encoded.source_width = old.source_width;
    encoded.source_height = old.source_height;
  }
  return bytes_datum(write_value(encoded, setting_compression_level, interrupt));
}

namespace {

Picture picture_of(const struct varlena* value) {
  const BackendInterrupt interrupt;
  return rebuild(read_value(varlena_bytes(value), current_limits(), interrupt), interrupt);
}

Datum to_jpeg(const struct varlena* value, int quality) {
  return bytes_datum(write_jpeg(picture_of(value), quality, BackendInterrupt()));
}

}  // namespace

IC_FUNCTION(icimage_to_bytea) { return to_jpeg(PG_GETARG_VARLENA_PP(0), kCastQuality); }

IC_FUNCTION(ic_to_jpeg) {
  const struct varlena* value = PG_GETARG_VARLENA_PP(0);
  const int quality = PG_GETARG_INT32(1);
  return to_jpeg(value, quality);
}

IC_FUNCTION(ic_to_png) {
  const struct varlena* value = PG_GETARG_VARLENA_PP(0);
  return bytes_datum(write_png(picture_of(value), BackendInterrupt()));
}

IC_FUNCTION(ic_encode) {
  const struct varlena* file = PG_GETARG_VARLENA_PP(0);
  const text* format = PG_GETARG_TEXT_PP(1);
  const Orientation orientation = PG_GETARG_BOOL(2) ? Orientation::upright : Orientation::as_stored;
  return bytes_datum(
      file_to_value(varlena_bytes(file), parse_format(text_view(format)), setting_compression_level, orientation));
}
