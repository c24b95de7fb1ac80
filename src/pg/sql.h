// SQL from C++: as whom it runs, with what search_path, and its results as plain C++ values.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pg/wall.h"
#include "protocol/wire.h"

namespace imagecalc {

// An argument of a query: null, a number, text, or bytes. Text is given as `unknown`-free text and cast in the query
// ($1::interval). Views are not copied: they must live until the query has run.
struct Argument {
  Argument(std::nullopt_t) : type(TEXTOID), null(true) {}
  Argument(std::string_view value) : type(TEXTOID), text(value) {}
  Argument(const std::string& value) : Argument(std::string_view(value)) {}
  Argument(const char* value) : Argument(std::string_view(value)) {}
  Argument(std::int64_t value) : type(INT8OID), number(value) {}
  Argument(int value) : Argument(std::int64_t{value}) {}
  Argument(bool value) : type(BOOLOID), number(value) {}
  Argument(double value) : type(FLOAT8OID), real(value) {}
  Argument(std::span<const std::uint8_t> value)
      : type(BYTEAOID), text(reinterpret_cast<const char*>(value.data()), value.size()) {}
  Argument(const Blob& value) : Argument(std::span<const std::uint8_t>(value)) {}
  template <typename T>
  Argument(const std::optional<T>& value) : Argument(value ? Argument(*value) : Argument(std::nullopt)) {}

  Oid type;
  bool null = false;
  std::int64_t number = 0;
  double real = 0;
  std::string_view text;
};

// A row of a result: bytea columns as their bytes, all others as Postgres prints them.
class Row {
 public:
  bool null(std::size_t column) const { return !cells_.at(column); }
  const std::string& text(std::size_t column) const { return cells_.at(column).value(); }
  std::int64_t integer(std::size_t column) const { return std::stoll(text(column)); }
  double real(std::size_t column) const { return std::stod(text(column)); }
  bool boolean(std::size_t column) const { return text(column) == "t"; }
  std::span<const std::uint8_t> bytes(std::size_t column) const {
    const std::string& cell = text(column);
    return {reinterpret_cast<const std::uint8_t*>(cell.data()), cell.size()};
  }
  Blob blob(std::size_t column) const {
    const auto view = bytes(column);
    return {view.begin(), view.end()};
  }

  std::vector<std::optional<std::string>> cells_;
};

using Rows = std::vector<Row>;

// While one lives, SQL runs with search_path pg_catalog, pg_temp, so that no one's operators or functions get in the way.
class SqlScope {
 public:
  enum class As {
    caller,     // whoever runs now
    superuser,  // the bootstrap superuser: for imagecalc's own tables only
  };
  explicit SqlScope(As as);
  // A user's relation, from a background worker: as that role, restricted (nothing it runs can outlast or escape the role),
  // row security on.
  explicit SqlScope(Oid restricted_role);
  ~SqlScope();
  SqlScope(const SqlScope&) = delete;
  SqlScope& operator=(const SqlScope&) = delete;

  // Runs one statement. read_only: under the snapshot of the calling query.
  Rows run(const char* statement, std::initializer_list<Argument> arguments = {}, bool read_only = false);

  // Runs a query and hands its rows on one by one, so that a large result is never held whole. take runs no SQL.
  void each(const char* query, const std::function<void(Row&&)>& take);

 private:
  void open();

  Oid outer_user_ = InvalidOid;
  int outer_context_ = 0;
  int guc_level_ = 0;
  int exceptions_ = 0;
};

// A row as Postgres has it, or none. What its columns point to lives as long as what it was taken from.
class TupleView {
 public:
  TupleView() = default;
  TupleView(HeapTuple row, TupleDesc shape) : row_(row), shape_(shape) {}

  bool empty() const { return !row_; }
  // By the column's name; ctid, xmin and the like are columns too.
  std::optional<Datum> nullable(const char* column) const;
  Datum column(const char* name) const { return nullable(name).value(); }

 private:
  HeapTuple row_ = nullptr;
  TupleDesc shape_ = nullptr;
};

// A query that a session asks again and again: parsed and planned once. It runs as the caller, under the snapshot of the
// calling query and whatever search_path there is; so every name in it is qualified, operators too.
class KeptQuery {
 public:
  constexpr KeptQuery(const char* statement, Oid argument) : statement_(statement), argument_(argument) {}

  // The first row of its result.
  class Answer {
   public:
    Answer(KeptQuery& query, Datum argument);
    ~Answer();
    Answer(const Answer&) = delete;
    Answer& operator=(const Answer&) = delete;

    TupleView row() const { return row_; }

   private:
    TupleView row_;
    const int exceptions_;
  };

 private:
  const char* const statement_;
  const Oid argument_;
  SPIPlanPtr plan_ = nullptr;  // as long as the session
};

// The row that a table with a text as its first column and primary key has for a key, under the snapshot of the calling query.
// Far quicker than a query, but asks nobody's leave: only for a plain table that the caller has locked, and all of whose rows the
// user may then read.
class KeyedRow {
 public:
  KeyedRow(Oid table, std::string_view key);
  ~KeyedRow();
  KeyedRow(const KeyedRow&) = delete;
  KeyedRow& operator=(const KeyedRow&) = delete;

  TupleView row() const { return row_; }

 private:
  Relation table_ = nullptr;
  struct SysScanDescData* scan_ = nullptr;
  TupleView row_;
  const int exceptions_;
};

// A transaction of a background worker. The destructor aborts one that was not committed.
class Transaction {
 public:
  Transaction();
  ~Transaction();
  void commit();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

 private:
  bool open_ = true;
};

// {1,2,3}: an array literal of numbers, with the shortest digits that read back the same.
template <typename Numbers>
std::string array_literal(const Numbers& numbers);

// ARRAY['a','b']: an expression, any text quoted.
std::string text_array_expression(const std::vector<std::string>& texts);

// The schema of ic_infer and its kin, quoted: where SqlScope's search_path does not look.
std::string extension_schema(SqlScope& sql);

std::string quote_name(std::string_view name);     // as an identifier
std::string quote_text(std::string_view literal);  // as a literal

}  // namespace imagecalc
