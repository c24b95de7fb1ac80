// The border between C++ and Postgres. src/pg/README.md has the rules.
#pragma once

#include <type_traits>
#include <utility>

#include "format/error.h"
#include "pg/postgres_api.h"

namespace imagecalc {

// A Postgres ERROR on its way through C++ frames. The wall raises it again.
struct PostgresError {
  ErrorData* data;  // outlives the abort that follows
};

// Where an exception's words are kept between the C++ scope that it left and ereport. Plain storage: nothing here can throw.
struct ErrorReport {
  ErrorData* postgres_error = nullptr;
  Fault fault = Fault::internal;
  char message[1024] = "";
  char hint[512] = "";
};

// Describes the exception that is being handled. Call only inside catch.
ErrorReport describe_exception() noexcept;

// ereport(ERROR) with the SQLSTATE that belongs to the fault.
[[noreturn]] void raise(const ErrorReport& report);

int sqlstate(Fault fault) noexcept;

// Runs C++ for Postgres. body returns something trivial: a Datum, a number, a pointer.
template <typename Body>
auto wall(Body&& body) -> decltype(body()) {
  static_assert(std::is_void_v<decltype(body())> || std::is_trivially_destructible_v<decltype(body())>);
  ErrorReport report;
  try {
    return body();
  } catch (...) {
    report = describe_exception();
  }
  raise(report);
}

// Copies the current ERROR and ends its handling, so that C++ can throw it.
ErrorData* take_current_error(MemoryContext caller);

// Calls Postgres from C++: an ERROR becomes the exception PostgresError. body must create nothing that has a destructor.
template <typename Body>
auto pg(Body&& body) -> decltype(body()) {
  using Result = decltype(body());
  static_assert(std::is_void_v<Result> || std::is_trivially_destructible_v<Result>);
  MemoryContext caller = CurrentMemoryContext;
  ErrorData* volatile error = nullptr;
  if constexpr (std::is_void_v<Result>) {
    PG_TRY();
    { body(); }
    PG_CATCH();
    { error = take_current_error(caller); }
    PG_END_TRY();
    if (error) throw PostgresError{error};
  } else {
    volatile Result result{};
    PG_TRY();
    { result = body(); }
    PG_CATCH();
    { error = take_current_error(caller); }
    PG_END_TRY();
    if (error) throw PostgresError{error};
    return const_cast<const Result&>(result);
  }
}

// Lets a cancel, a timeout or a termination through, as an exception.
inline void check_for_interrupts() {
  if (INTERRUPTS_PENDING_CONDITION()) pg([] { CHECK_FOR_INTERRUPTS(); });
}

// What the codec's loops ask. Only flags are read here; the wall raises what they announce.
class BackendInterrupt : public Interrupt {
 public:
  bool requested() const noexcept override { return InterruptPending && (QueryCancelPending || ProcDiePending); }
};

}  // namespace imagecalc

// Defines an SQL function whose body is C++ inside the wall; fcinfo is its argument.
#define IC_FUNCTION(name)                                              \
  static Datum name##_body(FunctionCallInfo fcinfo);                   \
  extern "C" {                                                         \
  PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);                            \
  PG_FUNCTION_INFO_V1(name);                                           \
  }                                                                    \
  Datum name(PG_FUNCTION_ARGS) {                                       \
    return imagecalc::wall([&] { return name##_body(fcinfo); });       \
  }                                                                    \
  static Datum name##_body([[maybe_unused]] FunctionCallInfo fcinfo)
