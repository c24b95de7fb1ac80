#include "pg/visibility.h"

namespace imagecalc {

std::optional<Visibility> current_visibility() {
  if (!ActiveSnapshotSet()) return std::nullopt;
  const Snapshot snapshot = GetActiveSnapshot();
  if (snapshot->snapshot_type != SNAPSHOT_MVCC) return std::nullopt;
  return Visibility{.user = GetUserId(),
                    .own = GetTopTransactionIdIfAny(),
                    .subtransaction = GetCurrentSubTransactionId(),
                    .command = snapshot->curcid,
                    .xmin = snapshot->xmin,
                    .xmax = snapshot->xmax,
                    .running = {snapshot->xip, snapshot->xip + snapshot->xcnt},
                    .running_below = {snapshot->subxip, snapshot->subxip + snapshot->subxcnt},
                    .overflowed = snapshot->suboverflowed,
                    .in_recovery = snapshot->takenDuringRecovery};
}

}  // namespace imagecalc
