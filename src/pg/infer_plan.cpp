#include "pg/infer_plan.h"

#include "pg/infer_calls.h"
#include "pg/infer_scan.h"

extern "C" {
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "optimizer/planmain.h"
#include "optimizer/tlist.h"
}

namespace imagecalc {
namespace {

// ---- one node of a plan

// What surrounds a node.
struct Surroundings {
  Reading reading;
  bool marked;  // the reader goes back to rows that it has marked
};
constexpr Surroundings kUnknown{};
constexpr Surroundings kAllRows{{.all = true, .eager = true, .limit = nullptr}, false};

// Rows that go on one by one to who reads the node, though perhaps not all of them.
Surroundings without_limit(Surroundings around) { return {{around.reading.all, around.reading.eager, nullptr}, false}; }

// Whose plans are rewritten: it knows all parameters of its execution.
PlannedStmt* statement_at_work = nullptr;

Plan* rewrite(Plan* plan, Surroundings around);
Surroundings around_outer(const Plan* node, Surroundings around);

// Columns 1 to n of the node below.
List* output_columns(Plan* child) {
  List* columns = NIL;
  ListCell* cell;
  foreach (cell, child->targetlist) {
    auto* entry = lfirst_node(TargetEntry, cell);
    columns = lappend(columns, column(OUTER_VAR, entry->resno, reinterpret_cast<Node*>(entry->expr)));
  }
  return columns;
}

List* target_list(List* expressions) {
  List* targets = NIL;
  ListCell* cell;
  foreach (cell, expressions) {
    const auto number = static_cast<AttrNumber>(list_length(targets) + 1);
    targets = lappend(targets, makeTargetEntry(static_cast<Expr*>(lfirst(cell)), number, nullptr, false));
  }
  return targets;
}

// The columns of a scan tuple as they are.
List* pass_on(List* known) {
  List* columns = NIL;
  ListCell* cell;
  foreach (cell, known)
    columns = lappend(columns, column(INDEX_VAR, list_length(columns) + 1, static_cast<Node*>(lfirst(cell))));
  return target_list(columns);
}

// ImageInfer nodes, one above the other. `known` says what the columns of the top one are, in the terms of the expressions
// that are to be computed from them.
struct Stack {
  Plan* top;
  List* known;
  Plan* stands_for;  // the node whose work it does
  Reading reading;
};

void add_stage(Stack* stack, List* calls) {
  Node* of_columns_below = replace_known(reinterpret_cast<Node*>(calls), stack->known, OUTER_VAR);
  CustomScan* scan = make_infer_scan(stack->top, reinterpret_cast<List*>(of_columns_below), stack->reading);
  stack->known = list_concat_copy(stack->known, calls);
  scan->scan.plan.targetlist = pass_on(stack->known);
  // A node that is skipped in a rescan because nothing it depends on has changed must know all that it depends on.
  scan->scan.plan.extParam = bms_union(stack->top->extParam, stack->stands_for->extParam);
  scan->scan.plan.allParam = bms_union(stack->top->allParam, stack->stands_for->allParam);
  scan->scan.plan.parallel_safe = stack->stands_for->parallel_safe;  // a subplan that is not is kept from workers
  stack->top = &scan->scan.plan;
}

// The calls of an expression that are not known yet.
List* new_calls(Node* expression, const Stack* stack) {
  Calls calls{.varno = 0, .any_image = stack->reading.all, .in_aggregates = false, .outer = nullptr, .found = NIL};
  collect_calls(expression, &calls);
  return list_difference(calls.found, stack->known);
}

// With them those of `others` that want scores of the same images by the same models: these come for nothing.
List* with_sharing(List* calls, List* others) {
  List* shared = NIL;
  ListCell *call, *other;
  foreach (other, others)
    foreach (call, calls)
      if (equal(lfirst_node(FuncExpr, call)->args, lfirst_node(FuncExpr, other)->args))
        shared = list_append_unique(shared, lfirst(other));
  return list_union(calls, shared);
}

void add_condition(Stack* stack, Node* condition) {
  Node* known = replace_known(condition, stack->known, INDEX_VAR);
  stack->top->qual = lappend(stack->top->qual, known);
}

// Conditions are asked in the order the planner has put them in: cheap ones first, and those of row security and security
// barriers before all that might tell what they hide. So a stage of its own scores only images whose rows have passed all
// conditions before.
void add_conditions(Stack* stack, List* conditions, List* targets) {
  ListCell* cell;
  foreach (cell, conditions) {
    auto* condition = static_cast<Node*>(lfirst(cell));
    if (List* calls = new_calls(condition, stack))
      add_stage(stack, with_sharing(calls, new_calls(reinterpret_cast<Node*>(targets), stack)));
    add_condition(stack, condition);
  }
}

void project(Stack* stack, List* targets) {
  if (List* calls = new_calls(reinterpret_cast<Node*>(targets), stack)) add_stage(stack, calls);
  stack->top->targetlist = reinterpret_cast<List*>(replace_known(reinterpret_cast<Node*>(targets), stack->known, INDEX_VAR));
}

// The top does the node's last work; what is computed once before it is computed for both.
void take_place_of(Stack* stack, Plan* node) {
  stack->top->initPlan = node->initPlan;
  stack->top->startup_cost = node->startup_cost;
  stack->top->total_cost = node->total_cost;
  stack->top->plan_rows = node->plan_rows;
  stack->top->plan_width = node->plan_width;
  node->initPlan = NIL;
}

bool has_calls(Node* expression, Reading reading) {
  Calls calls{.varno = 0, .any_image = reading.all, .in_aggregates = false, .outer = nullptr, .found = NIL};
  collect_calls(expression, &calls);
  return calls.found != NIL;
}

// How many conditions come before the first with a call.
int count_plain_conditions(List* conditions, Reading reading) {
  int count = 0;
  while (count < list_length(conditions) && !has_calls(static_cast<Node*>(list_nth(conditions, count)), reading)) ++count;
  return count;
}

// ---- above a node that reads tables, joins or groups: it goes on returning what its expressions are made of, and the stack
// computes them

struct Work {
  int plain;         // how many conditions the node keeps
  List* leaves;      // what it returns from now on
  List* conditions;  // the others; these and the target list in terms of the leaves as columns
  List* targets;
};

// False where there is nothing to take.
bool can_take_work(Plan* node, Reading reading, Work* work) {
  work->plain = count_plain_conditions(node->qual, reading);
  List* conditions = list_copy_tail(node->qual, work->plain);
  if (!conditions && !has_calls(reinterpret_cast<Node*>(node->targetlist), reading)) return false;
  work->leaves = collect_leaves(reinterpret_cast<Node*>(node->targetlist),
                                collect_leaves(reinterpret_cast<Node*>(conditions), NIL));
  work->conditions = reinterpret_cast<List*>(replace_known(reinterpret_cast<Node*>(conditions), work->leaves, OUTER_VAR));
  work->targets = reinterpret_cast<List*>(replace_known(reinterpret_cast<Node*>(node->targetlist), work->leaves, OUTER_VAR));
  return true;
}

void take_work(Plan* node, const Work& work) {
  node->targetlist = target_list(work.leaves);
  node->qual = list_truncate(list_copy(node->qual), work.plain);
}

// Does the work above the node that returns the leaves.
Plan* stack_work(Plan* node, const Work& work, Reading reading) {
  if (work.conditions) reading.limit = nullptr;
  Stack stack{node, output_columns(node), node, reading};
  add_conditions(&stack, work.conditions, work.targets);
  project(&stack, work.targets);
  take_place_of(&stack, node);
  return stack.top;
}

Plan* stack_above(Plan* node, Surroundings around) {
  Work work;
  if (around.marked || !can_take_work(node, around.reading, &work)) return node;
  take_work(node, work);
  return stack_work(node, work, around.reading);
}

bool reads_table(const Plan* node) {
  switch (nodeTag(node)) {
    case T_SeqScan:
    case T_SampleScan:
    case T_IndexScan:
    case T_BitmapHeapScan:
    case T_TidScan:
    case T_TidRangeScan:
      return true;
    default:
      return false;
  }
}

// Partitions: one node above them all, if all have the same work to do, so that a batch may be of many small ones. Null
// otherwise, and for cursors: WHERE CURRENT OF looks for the scan that has returned the row.
Plan* stack_above_append(Append* node, Surroundings around) {
  if (around.marked || !(around.reading.all || around.reading.eager)) return nullptr;
  const int count = list_length(node->appendplans);
  auto* works = static_cast<Work*>(palloc(static_cast<Size>(count) * sizeof(Work)));
  for (int i = 0; i < count; ++i) {
    auto* child = static_cast<Plan*>(list_nth(node->appendplans, i));
    if (!reads_table(child) || !can_take_work(child, around.reading, works + i)) return nullptr;
    if (!equal(works[i].conditions, works[0].conditions) || !equal(works[i].targets, works[0].targets)) return nullptr;
  }
  for (int i = 0; i < count; ++i) take_work(static_cast<Plan*>(list_nth(node->appendplans, i)), works[i]);
  List* names = node->plan.targetlist;
  node->plan.targetlist = target_list(output_columns(static_cast<Plan*>(linitial(node->appendplans))));
  Plan* top = stack_work(&node->plan, works[0], around.reading);
  apply_tlist_labeling(top->targetlist, names);
  return top;
}

// A Result that only computes goes: the stack does that above the node below.
Plan* stack_instead(Result* node, Surroundings around) {
  Plan* plan = &node->plan;
  Node* all = reinterpret_cast<Node*>(list_make2(plan->qual, plan->targetlist));
  if (!plan->lefttree || node->resconstantqual || around.marked || !has_calls(all, around.reading)) return plan;
  if (plan->qual) around.reading.limit = nullptr;
  Stack stack{plan->lefttree, output_columns(plan->lefttree), plan, around.reading};
  // Conditions without calls need a node to ask them: the Result would do, were it not to go.
  if (count_plain_conditions(plan->qual, around.reading) > 0) return plan;
  add_conditions(&stack, plan->qual, plan->targetlist);
  project(&stack, plan->targetlist);
  take_place_of(&stack, plan);
  return stack.top;
}

// ---- below a node that computes calls from the columns of the node below it, in other places than its target list

// Columns for the calls, if any, between the node and the one below.
List* stack_below(Plan** child, Node* expressions, Plan* node, bool in_aggregates, Reading reading) {
  Calls calls{.varno = OUTER_VAR, .any_image = reading.all, .in_aggregates = in_aggregates, .outer = nullptr, .found = NIL};
  collect_calls(expressions, &calls);
  if (!calls.found) return NIL;
  Stack stack{*child, output_columns(*child), node, reading};
  add_stage(&stack, calls.found);
  *child = stack.top;
  return stack.known;
}

List* replace_in_list(List* expressions, List* known) {
  return reinterpret_cast<List*>(replace_known(reinterpret_cast<Node*>(expressions), known, OUTER_VAR));
}

// The arguments of aggregates. An aggregate is a leaf to replace_known, so its inside is replaced here.
Node* replace_in_aggregates(Node* node, void* known) {
  if (!node) return nullptr;
  if (!IsA(node, Aggref)) return mutate_children(node, replace_in_aggregates, known);
  auto* aggregate = static_cast<Aggref*>(copyObjectImpl(node));
  aggregate->args = replace_in_list(aggregate->args, static_cast<List*>(known));
  aggregate->aggfilter = reinterpret_cast<Expr*>(replace_known(reinterpret_cast<Node*>(aggregate->aggfilter),
                                                               static_cast<List*>(known), OUTER_VAR));
  return reinterpret_cast<Node*>(aggregate);
}

void stack_below_aggregate(Agg* node, Surroundings around) {
  Plan* plan = &node->plan;
  const Reading reading = around_outer(plan, around).reading;
  Node* expressions = reinterpret_cast<Node*>(list_make2(plan->targetlist, plan->qual));
  List* known = stack_below(&plan->lefttree, expressions, plan, true, reading);
  if (!known) return;
  plan->targetlist = reinterpret_cast<List*>(replace_in_aggregates(reinterpret_cast<Node*>(plan->targetlist), known));
  plan->qual = reinterpret_cast<List*>(replace_in_aggregates(reinterpret_cast<Node*>(plan->qual), known));
}

List* split_rankings(List* targets, const Calls* calls) {
  List* split = NIL;
  ListCell* cell;
  foreach (cell, targets) {
    auto* entry = static_cast<TargetEntry*>(copyObjectImpl(lfirst(cell)));
    entry->expr = reinterpret_cast<Expr*>(split_ranking(reinterpret_cast<Node*>(entry->expr), calls));
    split = lappend(split, entry);
  }
  return split;
}

void stack_below_set_returning(ProjectSet* node, Surroundings around) {
  Plan* plan = &node->plan;
  const Reading reading = around_outer(plan, around).reading;
  const Calls calls{.varno = OUTER_VAR, .any_image = reading.all, .in_aggregates = false, .outer = nullptr, .found = NIL};
  plan->targetlist = split_rankings(plan->targetlist, &calls);
  List* known = stack_below(&plan->lefttree, reinterpret_cast<Node*>(plan->targetlist), plan, false, reading);
  if (known) plan->targetlist = replace_in_list(plan->targetlist, known);
}

// A hash join computes the keys of every row of both sides.
void stack_below_outer_keys(HashJoin* node, Surroundings around) {
  Plan* plan = &node->join.plan;
  const Reading reading = around_outer(plan, around).reading;
  List* known = stack_below(&plan->lefttree, reinterpret_cast<Node*>(node->hashkeys), plan, false, reading);
  if (!known) return;
  node->hashkeys = replace_in_list(node->hashkeys, known);
  node->hashclauses = replace_in_list(node->hashclauses, known);
}

// The columns of the node below a Hash reach the join by the Hash's target list.
void stack_below_inner_keys(HashJoin* node) {
  auto* hash = reinterpret_cast<Hash*>(node->join.plan.righttree);
  Plan* plan = &hash->plan;
  const int columns = list_length(plan->lefttree->targetlist);
  List* known = stack_below(&plan->lefttree, reinterpret_cast<Node*>(hash->hashkeys), plan, false, kAllRows.reading);
  if (!known) return;
  List *passed = NIL, *known_to_join = NIL;
  ListCell* cell;
  foreach (cell, plan->targetlist) {
    auto* expression = reinterpret_cast<Node*>(lfirst_node(TargetEntry, cell)->expr);
    passed = lappend(passed, expression);
    known_to_join = lappend(known_to_join, column(INNER_VAR, list_length(passed), expression));
  }
  for (int i = columns; i < list_length(known); ++i) {
    auto* call = static_cast<Node*>(list_nth(known, i));
    Var* result = column(OUTER_VAR, i + 1, call);
    plan->targetlist = lappend(plan->targetlist,
                               makeTargetEntry(reinterpret_cast<Expr*>(result),
                                               static_cast<AttrNumber>(list_length(plan->targetlist) + 1), nullptr, false));
    known_to_join = lappend(known_to_join, replace_known(call, passed, INNER_VAR));
  }
  hash->hashkeys = replace_in_list(hash->hashkeys, known);
  Node* clauses = reinterpret_cast<Node*>(node->hashclauses);
  node->hashclauses = reinterpret_cast<List*>(replace_known(clauses, known_to_join, INNER_VAR));
}

// ---- the outer side of a nested loop whose inner side computes calls from its columns: for each row, as it is begun anew

// Where in the inner side expressions are evaluated for every row of the outer side, and the nodes from its top to there.
struct Places {
  List* expressions;  // Node**, each an expression or a List of them
  List* nodes;
};

bool returns_one_row(const Plan* plan) {
  return IsA(plan, Result) && !plan->lefttree && !plan->qual && !reinterpret_cast<const Result*>(plan)->resconstantqual;
}

bool asks_for_a_row(const Limit* node) {
  return !node->limitOffset && node->limitCount && IsA(node->limitCount, Const) &&
         !reinterpret_cast<Const*>(node->limitCount)->constisnull &&
         DatumGetInt64(reinterpret_cast<Const*>(node->limitCount)->constvalue) > 0;
}

void find_places(Plan* plan, Places* places) {
  places->nodes = lappend(places->nodes, plan);
  ListCell* cell;
  switch (nodeTag(plan)) {
    case T_Result:
      if (returns_one_row(plan)) places->expressions = lappend(places->expressions, &plan->targetlist);
      if (plan->lefttree && !reinterpret_cast<Result*>(plan)->resconstantqual) find_places(plan->lefttree, places);
      return;
    case T_ProjectSet:
      if (returns_one_row(plan->lefttree)) places->expressions = lappend(places->expressions, &plan->targetlist);
      return;
    case T_FunctionScan:
      foreach (cell, reinterpret_cast<FunctionScan*>(plan)->functions)
        places->expressions = lappend(places->expressions, &lfirst_node(RangeTblFunction, cell)->funcexpr);
      return;
    case T_SubqueryScan:
      return find_places(reinterpret_cast<SubqueryScan*>(plan)->subplan, places);
    case T_Limit:
      if (asks_for_a_row(reinterpret_cast<Limit*>(plan))) find_places(plan->lefttree, places);
      return;
    case T_Memoize:
    case T_Sort:
    case T_Agg:
    case T_WindowAgg:
      return find_places(plan->lefttree, places);
    default:
      return;
  }
}

Node* split_at(Node* place, const Calls* calls) {
  if (!place || !IsA(place, List)) return split_ranking(place, calls);
  return reinterpret_cast<Node*>(split_rankings(reinterpret_cast<List*>(place), calls));
}

Bitmapset* parameters_set_by(const NestLoop* node) {
  Bitmapset* set = nullptr;
  ListCell* cell;
  foreach (cell, node->nestParams) set = bms_add_member(set, lfirst_node(NestLoopParam, cell)->paramno);
  return set;
}

// In the terms of the outer side.
Node* as_outer_columns(Node* node, void* nest_params) {
  if (!node) return nullptr;
  if (!IsA(node, Param) || reinterpret_cast<Param*>(node)->paramkind != PARAM_EXEC)
    return mutate_children(node, as_outer_columns, nest_params);
  ListCell* cell;
  foreach (cell, static_cast<List*>(nest_params)) {
    auto* set = lfirst_node(NestLoopParam, cell);
    if (set->paramno == reinterpret_cast<Param*>(node)->paramid) return static_cast<Node*>(copyObjectImpl(set->paramval));
  }
  return static_cast<Node*>(copyObjectImpl(node));
}

// A parameter by which the nested loop hands over a column of its outer side.
Param* hand_over(NestLoop* node, int number, const Node* expression) {
  List** types = &statement_at_work->paramExecTypes;
  auto* set = makeNode(NestLoopParam);
  set->paramno = list_length(*types);
  set->paramval = column(OUTER_VAR, number, expression);
  *types = lappend_oid(*types, exprType(expression));
  node->nestParams = lappend(node->nestParams, set);
  auto* parameter = makeNode(Param);
  *parameter = {.xpr = {T_Param}, .paramkind = PARAM_EXEC, .paramid = set->paramno, .paramtype = exprType(expression),
                .paramtypmod = exprTypmod(expression), .paramcollid = exprCollation(expression), .location = -1};
  return parameter;
}

void depend_on(List* nodes, int parameter) {
  ListCell* cell;
  foreach (cell, nodes) {
    auto* node = static_cast<Plan*>(lfirst(cell));
    node->extParam = bms_add_member(bms_copy(node->extParam), parameter);
    node->allParam = bms_add_member(bms_copy(node->allParam), parameter);
    if (!IsA(node, FunctionScan)) continue;
    ListCell* function;
    foreach (function, reinterpret_cast<FunctionScan*>(node)->functions) {
      auto* called = lfirst_node(RangeTblFunction, function);
      called->funcparams = bms_add_member(bms_copy(called->funcparams), parameter);
    }
  }
}

// The inner side is begun anew for every row of the outer side. What it computes of that row's image alone becomes a column
// of the outer side, by a parameter. Then a Memoize, which knows others, has little left to save.
void stack_below_nested_loop(NestLoop* node, Surroundings around) {
  Plan* plan = &node->join.plan;
  if (!node->nestParams) return;
  const Reading reading = around_outer(plan, around).reading;
  Calls calls{.varno = OUTER_VAR, .any_image = reading.all, .in_aggregates = false, .outer = parameters_set_by(node),
              .found = NIL};
  Places places{};
  find_places(plan->righttree, &places);
  ListCell* cell;
  foreach (cell, places.expressions) {
    auto** place = static_cast<Node**>(lfirst(cell));
    *place = split_at(*place, &calls);
    collect_calls(*place, &calls);
  }
  if (!calls.found) return;

  Stack stack{plan->lefttree, output_columns(plan->lefttree), plan, reading};
  const int columns = list_length(stack.known);
  List* outer_calls = NIL;
  foreach (cell, calls.found)
    outer_calls = lappend(outer_calls, as_outer_columns(static_cast<Node*>(lfirst(cell)), node->nestParams));
  add_stage(&stack, outer_calls);
  plan->lefttree = stack.top;

  if (IsA(plan->righttree, Memoize)) plan->righttree = plan->righttree->lefttree;
  List* parameters = NIL;
  foreach (cell, calls.found) {
    Param* parameter = hand_over(node, columns + list_length(parameters) + 1, static_cast<Node*>(lfirst(cell)));
    parameters = lappend(parameters, parameter);
    depend_on(places.nodes, parameter->paramid);
  }
  foreach (cell, places.expressions) {
    auto** place = static_cast<Node**>(lfirst(cell));
    *place = replace_each(*place, calls.found, parameters);
  }
}

// ---- the tree

// Whether it is known as soon as execution begins.
bool is_known(const Node* number) {
  return IsA(number, Const) || (IsA(number, Param) && reinterpret_cast<const Param*>(number)->paramkind == PARAM_EXTERN);
}

Reading below_limit(const Limit* node) {
  const bool known = node->limitOption == LIMIT_OPTION_COUNT && node->limitCount && is_known(node->limitCount) &&
                     (!node->limitOffset || is_known(node->limitOffset));
  return {.all = false, .eager = false, .limit = known ? node : nullptr};
}

// How the node reads the rows of its outer (or only) child.
Surroundings around_outer(const Plan* node, Surroundings around) {
  switch (nodeTag(node)) {
    case T_Sort:
    case T_Hash:
      return kAllRows;
    case T_Agg:
      return reinterpret_cast<const Agg*>(node)->aggstrategy == AGG_SORTED ? without_limit(around) : kAllRows;
    case T_Limit:
      return {below_limit(reinterpret_cast<const Limit*>(node)), false};
    case T_Result:
      return {node->qual ? without_limit(around).reading : around.reading, around.marked};
    case T_LockRows:  // it may pass rows over
    case T_ModifyTable:
    case T_ProjectSet:
    case T_Group:
    case T_Unique:
    case T_SetOp:
    case T_WindowAgg:
    case T_Material:
    case T_Memoize:
    case T_IncrementalSort:
    case T_NestLoop:
    case T_HashJoin:
      return without_limit(around);
    default:  // a MergeJoin, say, may know that there is nothing more to find
      return kUnknown;
  }
}

bool stops_at_first_match(const Join* join) {
  return join->inner_unique || join->jointype == JOIN_SEMI || join->jointype == JOIN_ANTI;
}

Surroundings around_inner(const Plan* node, Surroundings around) {
  switch (nodeTag(node)) {
    case T_NestLoop:
      return stops_at_first_match(&reinterpret_cast<const NestLoop*>(node)->join) ? kUnknown : without_limit(around);
    case T_MergeJoin:
      return {{}, !reinterpret_cast<const MergeJoin*>(node)->skip_mark_restore};
    default:
      return kUnknown;
  }
}

void rewrite_list(List* plans, Surroundings around) {
  ListCell* cell;
  foreach (cell, plans) lfirst(cell) = rewrite(static_cast<Plan*>(lfirst(cell)), around);
}

// Below a Gather: what workers do is counted as well.
void count_in_workers(Plan* plan) {
  if (!plan) return;
  check_stack_depth();
  if (is_infer_scan(plan)) plan->parallel_aware = true;
  ListCell* cell;
  switch (nodeTag(plan)) {
    case T_Append:
      foreach (cell, reinterpret_cast<Append*>(plan)->appendplans) count_in_workers(static_cast<Plan*>(lfirst(cell)));
      return;
    case T_MergeAppend:
      foreach (cell, reinterpret_cast<MergeAppend*>(plan)->mergeplans) count_in_workers(static_cast<Plan*>(lfirst(cell)));
      return;
    case T_SubqueryScan:
      return count_in_workers(reinterpret_cast<SubqueryScan*>(plan)->subplan);
    default:
      count_in_workers(plan->lefttree);
      count_in_workers(plan->righttree);
  }
}

void rewrite_children(Plan* node, Surroundings around) {
  const Surroundings each = without_limit(around);
  switch (nodeTag(node)) {
    case T_CustomScan:  // other people's
    case T_ForeignScan:
      return;
    case T_Gather:
    case T_GatherMerge:
      node->lefttree = rewrite(node->lefttree, each);
      return count_in_workers(node->lefttree);
    case T_Append:
      return rewrite_list(reinterpret_cast<Append*>(node)->appendplans, each);
    case T_MergeAppend:
      return rewrite_list(reinterpret_cast<MergeAppend*>(node)->mergeplans, each);
    case T_SubqueryScan: {
      auto* scan = reinterpret_cast<SubqueryScan*>(node);
      scan->subplan = rewrite(scan->subplan, node->qual ? each : Surroundings{around.reading, false});
      return;
    }
    default:
      if (node->lefttree) node->lefttree = rewrite(node->lefttree, around_outer(node, around));
      if (node->righttree) node->righttree = rewrite(node->righttree, around_inner(node, around));
  }
}

Plan* rewrite(Plan* plan, Surroundings around) {
  if (!plan) return nullptr;  // the loser of two ways to run a subquery
  check_stack_depth();
  if (IsA(plan, Append))
    if (Plan* stack = stack_above_append(reinterpret_cast<Append*>(plan), around)) return stack;
  rewrite_children(plan, around);
  switch (nodeTag(plan)) {
    case T_Result:
      return stack_instead(reinterpret_cast<Result*>(plan), around);
    case T_ProjectSet:
      stack_below_set_returning(reinterpret_cast<ProjectSet*>(plan), around);
      return plan;
    case T_Agg:
      stack_below_aggregate(reinterpret_cast<Agg*>(plan), around);
      return stack_above(plan, around);
    case T_HashJoin:
      stack_below_outer_keys(reinterpret_cast<HashJoin*>(plan), around);
      stack_below_inner_keys(reinterpret_cast<HashJoin*>(plan));
      return stack_above(plan, around);
    case T_NestLoop:
      stack_below_nested_loop(reinterpret_cast<NestLoop*>(plan), around);
      return stack_above(plan, around);
    case T_SeqScan:
    case T_SampleScan:
    case T_IndexScan:
    case T_IndexOnlyScan:
    case T_BitmapHeapScan:
    case T_TidScan:
    case T_TidRangeScan:
    case T_SubqueryScan:
    case T_FunctionScan:
    case T_ValuesScan:
    case T_TableFuncScan:
    case T_CteScan:
    case T_NamedTuplestoreScan:
    case T_WorkTableScan:
    case T_MergeJoin:
    case T_Gather:
    case T_GatherMerge:
    case T_Group:
      return stack_above(plan, around);
    case T_WindowAgg:
      // Its run condition names columns of its target list by their places, which are to stay.
      return reinterpret_cast<WindowAgg*>(plan)->runCondition ? plan : stack_above(plan, around);
    default:
      return plan;
  }
}

}  // namespace

void rewrite_statement(PlannedStmt* statement, int cursor_options) {
  statement_at_work = statement;
  const bool eager = !(cursor_options & (CURSOR_OPT_SCROLL | CURSOR_OPT_NO_SCROLL | CURSOR_OPT_FAST_PLAN));
  const bool all = statement->commandType != CMD_SELECT;
  rewrite_list(statement->subplans, kUnknown);
  statement->planTree = rewrite(statement->planTree, {{.all = all, .eager = eager, .limit = nullptr}, false});
  if ((cursor_options & CURSOR_OPT_SCROLL) && !ExecSupportsBackwardScan(statement->planTree))
    statement->planTree = materialize_finished_plan(statement->planTree);
}

}  // namespace imagecalc
