#include "pg/infer_hooks.h"

#include "pg/infer_plan.h"
#include "pg/infer_scan.h"
#include "pg/settings.h"

extern "C" {
#include "executor/executor.h"
#include "jit/jit.h"
#include "nodes/supportnodes.h"
#include "optimizer/paths.h"
#include "optimizer/planner.h"
#include "utils/plancache.h"

PGDLLEXPORT Datum ic_infer_support(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(ic_infer_support);
}

namespace imagecalc {
namespace {

planner_hook_type next_planner = nullptr;
ExecutorStart_hook_type next_executor_start = nullptr;
set_rel_pathlist_hook_type next_set_paths = nullptr;

// Whether the plan at work has calls: the planner tells ic_infer_support of each.
bool calls_seen = false;
int planning_depth = 0;

// The first call in a session loads this library while its plan is at work, too late for the planner's hook. Such plans are
// seen to when they are started: those of the transaction that began then.
TimestampTz unseen_in = 0;

// The cost of calls stands for the model's time, in which compiled expressions save nothing, and compiling them takes 5 to 25 ms a
// query.
void leave_uncompiled(PlannedStmt* statement) { statement->jitFlags = PGJIT_NONE; }

PlannedStmt* plan_statement(Query* query, const char* text, int cursor_options, ParamListInfo parameters) {
  const bool outer_seen = calls_seen;
  PlannedStmt* statement = nullptr;
  calls_seen = false;
  ++planning_depth;
  PG_TRY();
  {
    statement = next_planner ? next_planner(query, text, cursor_options, parameters)
                             : standard_planner(query, text, cursor_options, parameters);
    if (calls_seen) leave_uncompiled(statement);
    if (calls_seen && setting_enable_batch_infer) rewrite_statement(statement, cursor_options);
  }
  PG_FINALLY();
  {
    --planning_depth;
    calls_seen = outer_seen;
  }
  PG_END_TRY();
  return statement;
}

// The size of the tables that a relation is put together from. Other parts count as large where workers can have them.
double pages_of_parts(PlannerInfo* root, Index relation) {
  check_stack_depth();
  double pages = 0;
  ListCell* cell;
  foreach (cell, root->append_rel_list) {
    const auto* link = lfirst_node(AppendRelInfo, cell);
    if (link->parent_relid != relation || !root->simple_rel_array[link->child_relid]) continue;
    const RelOptInfo* part = root->simple_rel_array[link->child_relid];
    if (root->simple_rte_array[link->child_relid]->inh)
      pages += pages_of_parts(root, link->child_relid);
    else if (part->rtekind == RTE_RELATION)
      pages += part->pages;
    else if (part->partial_pathlist)
      pages += min_parallel_table_scan_size;
  }
  return pages;
}

// The planner takes it that workers divide the cost of calls. The runner is no faster for more processes, and on few cores
// they are in its way, so there are none unless they are asked for. Even then: Postgres gives workers no table below
// min_parallel_table_scan_size, but it does give them partitions of any size, if these look dear enough.
void keep_workers_away(PlannerInfo* root, RelOptInfo* relation, Index index, RangeTblEntry* entry) {
  if (next_set_paths) next_set_paths(root, relation, index, entry);
  if (!calls_seen) return;
  if (!setting_enable_parallel_infer) {
    relation->partial_pathlist = NIL;
    relation->consider_parallel = false;
    return;
  }
  if (!entry->inh || pages_of_parts(root, index) >= min_parallel_table_scan_size) return;
  relation->partial_pathlist = NIL;
  // A relation that is alone is put together again for the target list; in a join workers may have the others.
  if (bms_membership(root->all_baserels) == BMS_SINGLETON) relation->consider_parallel = false;
}

// The plan may belong to a cache: what is changed is a copy that lives as long as its execution, and the cache plans anew.
void see_to_early_plan(QueryDesc* query, int flags) {
  if (GetCurrentTransactionStartTimestamp() != unseen_in) unseen_in = 0;
  if (unseen_in == 0 || !setting_enable_batch_infer || (flags & EXEC_FLAG_BACKWARD)) return;
  const int64 before = infer_scans_made();
  MemoryContext outer = MemoryContextSwitchTo(GetMemoryChunkContext(query));
  auto* statement = static_cast<PlannedStmt*>(copyObjectImpl(query->plannedstmt));
  leave_uncompiled(statement);
  rewrite_statement(statement, CURSOR_OPT_NO_SCROLL);
  MemoryContextSwitchTo(outer);
  if (infer_scans_made() == before) return;
  query->plannedstmt = statement;
  unseen_in = 0;
  ResetPlanCache();
}

void start_executor(QueryDesc* query, int flags) {
  if (unseen_in != 0) see_to_early_plan(query, flags);
  next_executor_start ? next_executor_start(query, flags) : standard_ExecutorStart(query, flags);
}

}  // namespace

void install_infer_hooks() {
  register_infer_scan();
  next_planner = planner_hook;
  planner_hook = plan_statement;
  next_set_paths = set_rel_pathlist_hook;
  set_rel_pathlist_hook = keep_workers_away;
  next_executor_start = ExecutorStart_hook;
  ExecutorStart_hook = start_executor;
}

}  // namespace imagecalc

Datum ic_infer_support(PG_FUNCTION_ARGS) {
  using namespace imagecalc;
  if (IsA(PG_GETARG_POINTER(0), SupportRequestSimplify)) {
    calls_seen = true;
    if (planning_depth == 0) unseen_in = GetCurrentTransactionStartTimestamp();
  }
  PG_RETURN_POINTER(nullptr);
}
