#include "pg/sql.h"

#include <exception>

#include "pg/datum.h"

namespace imagecalc {
namespace {

Datum argument_datum(const Argument& argument) {
  switch (argument.type) {
    case INT8OID:
      return Int64GetDatum(argument.number);
    case BOOLOID:
      return BoolGetDatum(argument.number != 0);
    case FLOAT8OID:
      return Float8GetDatum(argument.real);
    default:
      return text_datum(argument.text);
  }
}

struct Arguments {
  explicit Arguments(std::initializer_list<Argument> list) {
    for (const Argument& argument : list) {
      types.push_back(argument.type);
      values.push_back(argument.null ? Datum{0} : argument_datum(argument));
      nulls.push_back(argument.null ? 'n' : ' ');
    }
  }
  std::vector<Oid> types;
  std::vector<Datum> values;
  std::vector<char> nulls;
};

// One cell as C memory of the current context; null pointer for NULL.
struct RawCell {
  const char* data = nullptr;
  std::size_t size = 0;
};

RawCell read_cell(HeapTuple tuple, TupleDesc shape, int column) {
  bool null;
  const Datum value = SPI_getbinval(tuple, shape, column, &null);
  if (null) return {};
  if (SPI_gettypeid(shape, column) == BYTEAOID) {
    const struct varlena* bytes = PG_DETOAST_DATUM_PACKED(value);
    return {VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)};
  }
  const char* text = SPI_getvalue(tuple, shape, column);
  return {text, strlen(text)};
}

Row read_row(HeapTuple tuple, TupleDesc shape) {
  Row row;
  for (int column = 1; column <= shape->natts; ++column) {
    RawCell cell;
    pg([&] { cell = read_cell(tuple, shape, column); });
    row.cells_.push_back(cell.data ? std::optional<std::string>(std::in_place, cell.data, cell.size) : std::nullopt);
  }
  return row;
}

}  // namespace

SqlScope::SqlScope(As as) {
  GetUserIdAndSecContext(&outer_user_, &outer_context_);
  open();
  if (as == As::owner) SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, outer_context_ | SECURITY_LOCAL_USERID_CHANGE);
}

SqlScope::SqlScope(Oid restricted_role) {
  GetUserIdAndSecContext(&outer_user_, &outer_context_);
  open();
  pg([] { SetConfigOption("row_security", "on", PGC_USERSET, PGC_S_SESSION); });
  SetUserIdAndSecContext(restricted_role, outer_context_ | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
}

void SqlScope::open() {
  exceptions_ = std::uncaught_exceptions();
  guc_level_ = NewGUCNestLevel();
  pg([] {
    (void)set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
    SPI_connect();
  });
}

// After an ERROR the abort of the transaction cleans up; only the identity is put back at once.
SqlScope::~SqlScope() {
  SetUserIdAndSecContext(outer_user_, outer_context_);
  if (std::uncaught_exceptions() > exceptions_) return;
  SPI_finish();
  AtEOXact_GUC(true, guc_level_);
}

Rows SqlScope::run(const char* statement, std::initializer_list<Argument> list, bool read_only) {
  Arguments arguments(list);
  const int code = pg([&] {
    return SPI_execute_with_args(statement, static_cast<int>(arguments.types.size()), arguments.types.data(),
                                 arguments.values.data(), arguments.nulls.data(), read_only, 0);
  });
  if (code < 0) throw Error(Fault::internal, std::string("statement failed: ") + SPI_result_code_string(code));
  Rows rows;
  if (!SPI_tuptable) return rows;
  for (std::uint64_t i = 0; i < SPI_processed; ++i) rows.push_back(read_row(SPI_tuptable->vals[i], SPI_tuptable->tupdesc));
  SPI_freetuptable(SPI_tuptable);
  return rows;
}

void SqlScope::each(const char* query, int portion, const std::function<void(Row&&)>& take) {
  const Portal portal =
      pg([&] { return SPI_cursor_open_with_args(nullptr, query, 0, nullptr, nullptr, nullptr, true, CURSOR_OPT_NO_SCROLL); });
  while (true) {
    check_for_interrupts();
    // Each portion's detoasted images are freed with this context.
    const MemoryContext outer = CurrentMemoryContext;
    const MemoryContext work = pg([] { return AllocSetContextCreate(CurrentMemoryContext, "imagecalc rows", ALLOCSET_DEFAULT_SIZES); });
    pg([&] { SPI_cursor_fetch(portal, true, portion); });
    const std::uint64_t count = SPI_processed;
    SPITupleTable* table = SPI_tuptable;
    std::vector<Row> rows;
    MemoryContextSwitchTo(work);
    for (std::uint64_t i = 0; i < count; ++i) rows.push_back(read_row(table->vals[i], table->tupdesc));
    MemoryContextSwitchTo(outer);
    MemoryContextDelete(work);
    SPI_freetuptable(table);
    if (count == 0) break;
    for (Row& row : rows) take(std::move(row));
  }
  pg([&] { SPI_cursor_close(portal); });
}

Transaction::Transaction() {
  pg([] {
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    PushActiveSnapshot(GetTransactionSnapshot());
  });
}

void Transaction::commit() {
  pg([] {
    PopActiveSnapshot();
    CommitTransactionCommand();
  });
  open_ = false;
}

Transaction::~Transaction() {
  if (open_) AbortCurrentTransaction();
}

std::string quote_name(std::string_view name) {
  const char* copy = make_cstring(name);
  return pg([&] { return quote_identifier(copy); });
}

std::string quote_text(std::string_view literal) {
  const char* copy = make_cstring(literal);
  return pg([&] { return quote_literal_cstr(copy); });
}

}  // namespace imagecalc
