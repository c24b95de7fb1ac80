// Which rows the calling query sees.
#pragma once

#include <optional>
#include <vector>

#include "pg/postgres_api.h"

namespace imagecalc {

// What a snapshot says of other transactions: under equal ones the same query finds the same rows, as whatever changes a table
// ends a transaction, and what transactions have ended is what snapshots differ in.
struct Visibility {
  TransactionId xmin, xmax;
  std::vector<TransactionId> running, running_subtransactions;

  bool operator==(const Visibility&) const = default;
};

// Nothing where that does not say all: in a transaction that has written something itself; in one that keeps its first snapshot,
// whose reads lock what they read and meet new privileges; and where the snapshot leaves subtransactions out.
std::optional<Visibility> current_visibility();

}  // namespace imagecalc
