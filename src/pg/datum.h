// Bytes and text in and out of Datums.
#pragma once

#include <cstring>
#include <new>
#include <string>
#include <string_view>

#include "codec/picture.h"
#include "pg/postgres_api.h"

namespace imagecalc {

// The payload of a detoasted varlena. Valid as long as the varlena is.
inline Bytes varlena_bytes(const struct varlena* value) {
  return {reinterpret_cast<const std::uint8_t*>(VARDATA_ANY(value)), VARSIZE_ANY_EXHDR(value)};
}

inline std::string_view text_view(const text* value) { return {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)}; }

// palloc that throws instead of raising an ERROR, so that C++ may call it.
inline void* allocate(std::size_t size) {
  if (!AllocSizeIsValid(size))
    throw Error(Fault::limit_exceeded,
                "the result would take " + std::to_string(size) + " bytes, more than a value can hold");
  void* memory = palloc_extended(size, MCXT_ALLOC_NO_OOM);
  if (!memory) throw std::bad_alloc();
  return memory;
}

inline struct varlena* make_varlena(const void* data, std::size_t size) {
  auto* value = static_cast<struct varlena*>(allocate(VARHDRSZ + size));
  SET_VARSIZE(value, VARHDRSZ + size);
  std::memcpy(VARDATA(value), data, size);
  return value;
}

inline Datum bytes_datum(Bytes bytes) { return PointerGetDatum(make_varlena(bytes.data(), bytes.size())); }
inline Datum text_datum(std::string_view text) { return PointerGetDatum(make_varlena(text.data(), text.size())); }

inline char* make_cstring(std::string_view text) {
  auto* copy = static_cast<char*>(allocate(text.size() + 1));
  std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = '\0';
  return copy;
}

}  // namespace imagecalc
