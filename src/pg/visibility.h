// Which rows the calling query sees.
#pragma once

#include <optional>
#include <vector>

#include "pg/postgres_api.h"

namespace imagecalc {

// The calling query's snapshot, as whom it runs, and how far its own transaction has come. Under equal ones the same query
// finds the same rows, as long as no row security decides by anything else: whatever changes a table or a privilege ends a
// transaction, which changes the next snapshots, or is of a command, a subtransaction or a transaction of its own.
struct Visibility {
  Oid user;
  TransactionId own;  // the transaction itself; 0 as long as it has written nothing
  SubTransactionId subtransaction;
  CommandId command;
  TransactionId xmin, xmax;
  std::vector<TransactionId> running, running_below;  // transactions and their subtransactions
  bool overflowed, in_recovery;

  bool operator==(const Visibility&) const = default;
};

// Nothing where the snapshot is not one of a plain query.
std::optional<Visibility> current_visibility();

}  // namespace imagecalc
