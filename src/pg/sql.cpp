#include "pg/sql.h"

#include <array>
#include <charconv>
#include <exception>

#include "pg/datum.h"

extern "C" {
#include "access/genam.h"
#include "access/table.h"
#include "utils/fmgroids.h"
}

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
  if (as == As::superuser) SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, outer_context_ | SECURITY_LOCAL_USERID_CHANGE);
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
    // Numbers travel as text: all their digits, whatever the session prints.
    (void)set_config_option("extra_float_digits", "1", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
    SPI_connect();
  });
}

// After an ERROR the abort of the transaction cleans up; only the identity is put back at once.
SqlScope::~SqlScope() {
  SetUserIdAndSecContext(outer_user_, outer_context_);
  if (std::uncaught_exceptions() > exceptions_) return;
  SPI_finish();
  AtEOXact_GUC(false, guc_level_);  // also what a function in the user's view may have set
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

void SqlScope::each(const char* query, const std::function<void(Row&&)>& take) {
  constexpr long kPortion = 32;  // tuples; their images stay toasted until their turn
  const Portal portal =
      pg([&] { return SPI_cursor_open_with_args(nullptr, query, 0, nullptr, nullptr, nullptr, true, CURSOR_OPT_NO_SCROLL); });
  const MemoryContext outer = CurrentMemoryContext;
  const MemoryContext work = pg([] { return AllocSetContextCreate(CurrentMemoryContext, "imagecalc row", ALLOCSET_DEFAULT_SIZES); });
  while (true) {
    pg([&] { SPI_cursor_fetch(portal, true, kPortion); });
    const std::uint64_t count = SPI_processed;
    SPITupleTable* table = SPI_tuptable;
    for (std::uint64_t i = 0; i < count; ++i) {
      check_for_interrupts();
      MemoryContextSwitchTo(work);
      Row row = read_row(table->vals[i], table->tupdesc);
      MemoryContextSwitchTo(outer);
      MemoryContextReset(work);
      take(std::move(row));
    }
    SPI_freetuptable(table);
    if (count == 0) break;
  }
  MemoryContextDelete(work);
  pg([&] { SPI_cursor_close(portal); });
}

KeptQuery::Answer::Answer(KeptQuery& query, Datum argument) : exceptions_(std::uncaught_exceptions()) {
  const int code = pg([&] {
    SPI_connect();
    if (!query.plan_) {
      Oid type = query.argument_;
      SPIPlanPtr plan = SPI_prepare(query.statement_, 1, &type);
      if (!plan) return SPI_result;
      SPI_keepplan(plan);
      query.plan_ = plan;
    }
    return SPI_execute_plan(query.plan_, &argument, nullptr, true, 1);
  });
  if (code < 0) throw Error(Fault::internal, std::string("statement failed: ") + SPI_result_code_string(code));
  if (SPI_processed > 0) row_ = {SPI_tuptable->vals[0], SPI_tuptable->tupdesc};
}

// After an ERROR the abort of the transaction cleans up.
KeptQuery::Answer::~Answer() {
  if (std::uncaught_exceptions() <= exceptions_) SPI_finish();
}

KeyedRow::KeyedRow(Oid table, std::string_view key) : exceptions_(std::uncaught_exceptions()) {
  const Datum text = text_datum(key);
  const HeapTuple row = pg([&] {
    table_ = table_open(table, NoLock);
    const Oid index = RelationGetPrimaryKeyIndex(table_);
    ScanKeyData sought;
    const Oid collation = TupleDescAttr(table_->rd_att, 0)->attcollation;
    ScanKeyEntryInitialize(&sought, 0, 1, BTEqualStrategyNumber, TEXTOID, collation, F_TEXTEQ, text);
    scan_ = systable_beginscan(table_, index, OidIsValid(index), GetActiveSnapshot(), 1, &sought);
    return systable_getnext(scan_);
  });
  row_ = {row, table_->rd_att};
}

// After an ERROR the abort of the transaction cleans up.
KeyedRow::~KeyedRow() {
  if (std::uncaught_exceptions() > exceptions_) return;
  systable_endscan(scan_);
  table_close(table_, NoLock);
}

std::optional<Datum> TupleView::nullable(const char* column) const {
  bool null;
  const Datum value = pg([&] {
    const int number = SPI_fnumber(shape_, column);
    if (number == SPI_ERROR_NOATTRIBUTE) elog(ERROR, "column \"%s\" does not exist", column);
    return SPI_getbinval(row_, shape_, number, &null);
  });
  return null ? std::nullopt : std::optional(value);
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
    pgstat_report_stat(false);  // autovacuum hears of what was written
  });
  open_ = false;
}

Transaction::~Transaction() {
  if (open_) AbortCurrentTransaction();
}

template <typename Numbers>
std::string array_literal(const Numbers& numbers) {
  std::string text = "{";
  for (const auto number : numbers) {
    char digits[64];
    if (text.size() > 1) text += ',';
    text.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
  }
  return text + "}";
}

template std::string array_literal(const std::vector<double>&);
template std::string array_literal(const std::vector<std::int64_t>&);
template std::string array_literal(const std::vector<int>&);
template std::string array_literal(const std::array<float, 3>&);

std::string text_array_expression(const std::vector<std::string>& texts) {
  std::string expression = "ARRAY[";
  for (const std::string& text : texts) expression += (expression.ends_with('[') ? "" : ",") + quote_text(text);
  return expression + "]::text[]";
}

std::string extension_schema(SqlScope& sql) {
  return sql.run("SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'imagecalc'").at(0).text(0);
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
