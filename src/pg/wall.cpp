#include "pg/wall.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace imagecalc {
namespace {

// Cut between characters. What a model says may be no text in the server's encoding at all: then only its ASCII is kept.
template <std::size_t N>
void copy_text(char (&to)[N], const char* from) noexcept {
  const int whole = static_cast<int>(std::min(std::strlen(from), std::size_t{1} << 20));
  const int length = pg_mbcliplen(from, whole, static_cast<int>(N) - 1);
  std::memcpy(to, from, static_cast<std::size_t>(length));
  to[length] = '\0';
  if (pg_verifymbstr(to, length, true)) return;
  for (char* c = to; *c; ++c)
    if (static_cast<unsigned char>(*c) >= 0x80) *c = '?';
}

}  // namespace

int sqlstate(Fault fault) noexcept {
  switch (fault) {
    case Fault::invalid_argument:
    case Fault::bad_format:
    case Fault::bad_model:
      return ERRCODE_INVALID_PARAMETER_VALUE;
    case Fault::wrong_format:
      return ERRCODE_DATA_EXCEPTION;
    case Fault::bad_picture:
    case Fault::corrupt_value:
      return ERRCODE_INVALID_BINARY_REPRESENTATION;
    case Fault::unsupported_picture:
    case Fault::no_device:
      return ERRCODE_FEATURE_NOT_SUPPORTED;
    case Fault::limit_exceeded:
      return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
    case Fault::out_of_memory:
      return ERRCODE_OUT_OF_MEMORY;
    case Fault::cancelled:
      return ERRCODE_QUERY_CANCELED;
    case Fault::overloaded:
      return ERRCODE_INSUFFICIENT_RESOURCES;
    case Fault::unavailable:
      return ERRCODE_SYSTEM_ERROR;
    case Fault::protocol:
    case Fault::internal:
      return ERRCODE_INTERNAL_ERROR;
  }
  return ERRCODE_INTERNAL_ERROR;
}

ErrorReport describe_exception() noexcept {
  ErrorReport report;
  try {
    throw;
  } catch (const PostgresError& error) {
    report.postgres_error = error.data;
  } catch (const Error& error) {
    report.fault = error.fault();
    copy_text(report.message, error.what());
    copy_text(report.hint, error.hint().c_str());
  } catch (const std::bad_alloc&) {
    report.fault = Fault::out_of_memory;
    copy_text(report.message, "out of memory");
  } catch (const std::exception& error) {
    copy_text(report.message, error.what());
  } catch (...) {
    copy_text(report.message, "unknown C++ exception");
  }
  return report;
}

void raise(const ErrorReport& report) {
  if (report.postgres_error) ReThrowError(report.postgres_error);
  if (report.fault == Fault::cancelled) CHECK_FOR_INTERRUPTS();  // says whether it was the user, a timeout or a shutdown
  ereport(ERROR, (errcode(sqlstate(report.fault)), errmsg("%s", report.message),
                  report.hint[0] ? errhint("%s", report.hint) : 0));
  pg_unreachable();
}

ErrorData* take_current_error(MemoryContext caller) {
  // Outlives the abort, until the next error: one is on its way at a time.
  static MemoryContext context = nullptr;
  if (!context) context = AllocSetContextCreate(TopMemoryContext, "imagecalc error", ALLOCSET_SMALL_SIZES);
  MemoryContextReset(context);
  MemoryContextSwitchTo(context);
  ErrorData* error = CopyErrorData();
  FlushErrorState();
  MemoryContextSwitchTo(caller);
  return error;
}

}  // namespace imagecalc
