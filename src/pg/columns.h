// The columns of a user's relation: the one that was named, or the only one that fits.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pg/sql.h"

namespace imagecalc {

struct Column {
  std::string name, type;  // as format_type has it, without modifiers

  bool is_text() const { return type == "text" || type == "character varying" || type == "character"; }
  bool is_value() const { return type.ends_with("icimage"); }  // in whatever schema
};

// relation: as regclass prints it.
std::vector<Column> list_columns(SqlScope& sql, const std::string& relation);

// argument: where the name was wanted; kind: of column. Throws Error(invalid_argument) where there is none, or several fit.
Column pick_column(const std::vector<Column>& columns, const std::optional<std::string>& wanted, const char* argument,
                   const char* kind, const std::function<bool(const Column&)>& fits);

}  // namespace imagecalc
