// What the files of the type share: picture files to values, values to coefficients.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "codec/encode.h"
#include "codec/value.h"
#include "pg/postgres_api.h"

namespace imagecalc {

// A column's format, or nothing for a bare icimage (typmod -1).
std::optional<Format> typmod_format(int32 typmod);

// A picture file to a stored value. level: of compression, 1..19.
std::vector<std::uint8_t> file_to_value(Bytes file, const Format& format, int level,
                                        Orientation orientation = Orientation::as_stored);

// Error(wrong_format) with the hint to cast.
[[noreturn]] void refuse_format(const Format& have, const Format& want);

// The header of a possibly toasted value, of which no more than the header is read.
ValueHeader stored_header(Datum value);

}  // namespace imagecalc
