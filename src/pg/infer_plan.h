// Puts ImageInfer nodes into plans: src/pg/README.md says where, and why it is done to finished plans.
#pragma once

#include "pg/postgres_api.h"

extern "C" {
#include "nodes/plannodes.h"
}

namespace imagecalc {

// Changes the statement where it stands. A scrollable cursor must be able to go backwards, which ImageInfer cannot.
void rewrite_statement(PlannedStmt* statement, int cursor_options);

}  // namespace imagecalc
