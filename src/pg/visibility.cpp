#include "pg/visibility.h"

namespace imagecalc {

std::optional<Visibility> current_visibility() {
  if (!ActiveSnapshotSet() || IsolationUsesXactSnapshot() || TransactionIdIsValid(GetTopTransactionIdIfAny())) return std::nullopt;
  const Snapshot snapshot = GetActiveSnapshot();
  if (snapshot->snapshot_type != SNAPSHOT_MVCC || snapshot->suboverflowed) return std::nullopt;
  return Visibility{.xmin = snapshot->xmin,
                    .xmax = snapshot->xmax,
                    .running = {snapshot->xip, snapshot->xip + snapshot->xcnt},
                    .running_subtransactions = {snapshot->subxip, snapshot->subxip + snapshot->subxcnt}};
}

}  // namespace imagecalc
