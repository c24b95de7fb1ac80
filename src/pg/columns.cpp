#include "pg/columns.h"

namespace imagecalc {
namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

std::vector<Column> list_columns(SqlScope& sql, const std::string& relation) {
  std::vector<Column> columns;
  for (const Row& row : sql.run("SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
                                "WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum", {relation}))
    columns.push_back({row.text(0), row.text(1)});
  return columns;
}

Column pick_column(const std::vector<Column>& columns, const std::optional<std::string>& wanted, const char* argument,
                   const char* kind, const std::function<bool(const Column&)>& fits) {
  std::vector<std::string> candidates;
  const Column* found = nullptr;
  for (const Column& column : columns) {
    if (wanted ? column.name == *wanted : fits(column)) {
      candidates.push_back(column.name);
      found = &column;
    }
  }
  if (candidates.size() == 1) return *found;
  if (wanted)
    throw Error(Fault::invalid_argument, "column \"" + *wanted + "\" does not exist",
                std::string("It was given as ") + argument + ".");
  if (candidates.empty())
    throw Error(Fault::invalid_argument, std::string("the table has no ") + kind + " column",
                std::string("Name the column with ") + argument + " => '...'.");
  throw Error(Fault::invalid_argument, std::string("the table has several ") + kind + " columns: " + joined(candidates),
              std::string("Name the one to use with ") + argument + " => '...'.");
}

}  // namespace imagecalc
