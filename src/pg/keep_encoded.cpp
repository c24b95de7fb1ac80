// What ic_apply (sql/apply.sql) keeps a column of values with, beside the column of pictures that they are made from.
#include <cstdlib>

#include "pg/datum.h"
#include "pg/icimage.h"
#include "pg/wall.h"

using namespace imagecalc;

namespace {

// Whether it is the file that cannot be encoded, whoever tries.
bool is_of_the_file(Fault fault) {
  return fault == Fault::bad_picture || fault == Fault::unsupported_picture || fault == Fault::limit_exceeded;
}

std::vector<std::uint8_t> encode_file_at(Bytes file, const Format& format, int level) {
  if (level < 1 || level > 19)
    throw Error(Fault::invalid_argument, "there is no compression level " + std::to_string(level), "Levels are 1 to 19.");
  return file_to_value(file, format, level);
}

struct TriggerColumns {
  int source, target;
  Format format;
};

[[noreturn]] void throw_misused() {
  throw Error(Fault::invalid_argument,
              "imagecalc.keep_encoded is for triggers BEFORE INSERT OR UPDATE OF two columns FOR EACH ROW that ic_apply makes");
}

// By number, so that columns may be renamed: Postgres keeps those of UPDATE OF, in their order, and drops no column of them while
// the trigger is there.
TriggerColumns columns_of(const TriggerData& call) {
  const Trigger& trigger = *call.tg_trigger;
  TupleDesc columns = call.tg_relation->rd_att;
  const int source = trigger.tgattr[0], target = trigger.tgattr[1];
  const Form_pg_attribute attribute = TupleDescAttr(columns, target - 1);
  const std::string_view type = pg([&] { return static_cast<const char*>(format_type_be(attribute->atttypid)); });
  if (TupleDescAttr(columns, source - 1)->atttypid != BYTEAOID || !type.ends_with("icimage")) throw_misused();
  const std::optional<Format> format = typmod_format(attribute->atttypmod);
  if (!format) throw_misused();
  return {source, target, *format};
}

void warn(const Error& error, const char* column) {
  const char* why = error.what();
  pg([&] { ereport(WARNING, (errcode(sqlstate(error.fault())), errmsg("column \"%s\" is NULL: %s", column, why))); });
}

// As stored: a picture that an UPDATE does not name is not even read.
bool has_same(int column, HeapTuple before, HeapTuple after, TupleDesc description) {
  return pg([&] {
    bool null_before, null_after;
    const Datum a = heap_getattr(before, column, description, &null_before), b = heap_getattr(after, column, description, &null_after);
    return null_before == null_after && (null_before || datumIsEqual(a, b, false, -1));
  });
}

bool has_value(const TriggerColumns& columns, HeapTuple row, TupleDesc description) {
  return pg([&] { return !heap_attisnull(row, columns.target, description) || heap_attisnull(row, columns.source, description); });
}

HeapTuple with_value(const TriggerData& call) {
  const TriggerColumns columns = columns_of(call);
  const int level = std::atoi(call.tg_trigger->tgargs[0]);
  TupleDesc description = call.tg_relation->rd_att;
  const bool is_update = TRIGGER_FIRED_BY_UPDATE(call.tg_event);
  HeapTuple row = is_update ? call.tg_newtuple : call.tg_trigtuple;
  if (is_update && has_value(columns, row, description) && has_same(columns.source, call.tg_trigtuple, row, description)) return row;
  bool is_null;
  const Datum stored = heap_getattr(row, columns.source, description, &is_null);
  Datum value{};
  if (!is_null) {
    const struct varlena* file = pg([&] { return PG_DETOAST_DATUM_PACKED(stored); });
    try {
      value = bytes_datum(encode_file_at(varlena_bytes(file), columns.format, level));
    } catch (const Error& error) {
      if (!is_of_the_file(error.fault())) throw;
      warn(error, NameStr(TupleDescAttr(description, columns.target - 1)->attname));
      is_null = true;
    }
  }
  int target = columns.target;
  return pg([&] { return heap_modify_tuple_by_cols(row, description, 1, &target, &value, &is_null); });
}

}  // namespace

// A trigger's function. Its columns: that of pictures, that of values. Its argument: the level of compression.
IC_FUNCTION(ic_keep_encoded) {
  if (!CALLED_AS_TRIGGER(fcinfo)) throw_misused();
  const auto& call = *reinterpret_cast<const TriggerData*>(fcinfo->context);
  if (!TRIGGER_FIRED_BEFORE(call.tg_event) || !TRIGGER_FIRED_FOR_ROW(call.tg_event) ||
      !(TRIGGER_FIRED_BY_UPDATE(call.tg_event) || TRIGGER_FIRED_BY_INSERT(call.tg_event)) || call.tg_trigger->tgnattr != 2 ||
      call.tg_trigger->tgnargs != 1) {
    throw_misused();
  }
  return PointerGetDatum(with_value(call));
}

IC_FUNCTION(ic_try_encode) {
  const struct varlena* file = PG_GETARG_VARLENA_PP(0);
  const text* format = PG_GETARG_TEXT_PP(1);
  const int level = PG_GETARG_INT32(2);
  try {
    return bytes_datum(encode_file_at(varlena_bytes(file), parse_format(text_view(format)), level));
  } catch (const Error& error) {
    if (!is_of_the_file(error.fault())) throw;
  }
  fcinfo->isnull = true;
  return Datum{0};
}
