// The plan node ImageInfer: reads the rows of the node below, has the runner score their images in batches, and returns the
// rows in their order, with the results of the calls as further columns.
#pragma once

#include "pg/postgres_api.h"

extern "C" {
#include "nodes/plannodes.h"
}

namespace imagecalc {

// What the planner knows about the reading of a node's rows.
struct Reading {
  bool all;            // whoever reads them will not stop before the last, unless by an error
  bool eager;          // nor is he likely to, at least
  const Limit* limit;  // he reads no more than this asks for, which is known before the first is read; or null
};

// A node above `child` for calls whose images are columns of it (OUTER_VAR). Its scan tuple is the child's columns, then the
// calls' results; the caller sets the target list and the conditions in terms of that (INDEX_VAR).
CustomScan* make_infer_scan(Plan* child, List* calls, Reading reading);

bool is_infer_scan(const Plan* plan);

int64 infer_scans_made();

void register_infer_scan();

}  // namespace imagecalc
