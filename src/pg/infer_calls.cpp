#include "pg/infer_calls.h"

#include <algorithm>
#include <cstring>

extern "C" {
#include "access/transam.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "nodes/makefuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/syscache.h"
}

namespace imagecalc {
namespace {

struct Known {
  PGFunction address;
  const char* symbol;
  CallKind kind;
};
const Known kFunctions[] = {{ic_infer_value, "ic_infer_value", {true, false, false, false}},
                            {ic_infer_picture, "ic_infer_picture", {true, true, false, false}},
                            {ic_scores_value, "ic_scores_value", {true, false, true, false}},
                            {ic_scores_picture, "ic_scores_picture", {true, true, true, false}},
                            {ic_topk_value, "ic_topk_value", {true, false, true, true}},
                            {ic_topk_picture, "ic_topk_picture", {true, true, true, true}}};

const Known* find_symbol(Oid function) {
  HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
  if (!HeapTupleIsValid(tuple)) return nullptr;
  const Known* found = nullptr;
  if (reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple))->prolang == ClanguageId) {
    bool null;
    const Datum source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &null);
    const char* symbol = null ? "" : TextDatumGetCString(source);
    for (const Known& candidate : kFunctions)
      if (std::strcmp(symbol, candidate.symbol) == 0) found = &candidate;
  }
  ReleaseSysCache(tuple);
  return found;
}

// Without the relabelling that a domain or a varchar column brings.
const Node* bare(const Node* node) {
  while (node && IsA(node, RelabelType))
    node = reinterpret_cast<const Node*>(reinterpret_cast<const RelabelType*>(node)->arg);
  return node;
}

// Whether no row changes it. Beyond the nested loop that sets parameters others of the executor's might not be known yet.
bool is_fixed(const Node* value, const Calls* calls) {
  const Node* node = bare(value);
  if (IsA(node, Param)) return !calls->outer || reinterpret_cast<const Param*>(node)->paramkind == PARAM_EXTERN;
  return IsA(node, Const);
}

bool is_source(const Node* node, const Calls* calls) {
  if (!calls->outer) return is_leaf(node);
  return is_leaf(node) || (IsA(node, Param) && reinterpret_cast<const Param*>(node)->paramkind == PARAM_EXEC);
}

bool is_good_source(const Node* node, const Calls* calls) {
  if (calls->outer) return IsA(node, Param) && bms_is_member(reinterpret_cast<const Param*>(node)->paramid, calls->outer);
  if (calls->varno == 0) return true;
  return IsA(node, Var) && static_cast<int>(reinterpret_cast<const Var*>(node)->varno) == calls->varno;
}

struct Sources {
  const Calls* calls;
  bool used;     // a good one is
  bool foreign;  // another is
};

bool source_walker(Node* node, void* context) {
  if (!node) return false;
  auto* sources = static_cast<Sources*>(context);
  if (!is_source(node, sources->calls)) return walk_children(node, source_walker, context);
  (is_good_source(node, sources->calls) ? sources->used : sources->foreign) = true;
  return false;
}

bool can_take_value(Node* value, const Calls* calls) {
  Sources sources{calls, false, false};
  source_walker(value, &sources);
  if (!sources.used || sources.foreign) return false;
  if (is_source(bare(value), calls)) return true;
  return calls->any_image && !contain_volatile_functions(value) && !contain_subplans(value);
}

bool can_batch(const FuncExpr* call, const Calls* calls) {
  if (call->funcretset || list_length(call->args) < 2 || !call_kind(call->funcid).known) return false;
  auto* count = static_cast<Node*>(list_length(call->args) > 2 ? lthird(call->args) : nullptr);
  return is_fixed(static_cast<Node*>(linitial(call->args)), calls) &&
         can_take_value(static_cast<Node*>(lsecond(call->args)), calls) &&
         (!count || is_fixed(count, calls) || can_take_value(count, calls));
}

// How many labels a call of ic_topk is to show: 0 for a constant that is none, -1 for what is not known yet.
int known_count(const Node* count) {
  if (!IsA(count, Const)) return -1;
  const auto* constant = reinterpret_cast<const Const*>(count);
  return constant->constisnull ? 0 : std::max(0, DatumGetInt32(constant->constvalue));
}

void collect_from_list(List* list, Calls* calls) {
  ListCell* cell;
  foreach (cell, list) collect_calls(static_cast<Node*>(lfirst(cell)), calls);
}

void collect_first(List* list, Calls* calls) {
  if (list) collect_calls(static_cast<Node*>(linitial(list)), calls);
}

// The first condition is evaluated always, the rest may not be.
void collect_from_case(const CaseExpr* expression, Calls* calls) {
  collect_calls(reinterpret_cast<Node*>(expression->arg), calls);
  if (expression->args) collect_calls(reinterpret_cast<Node*>(linitial_node(CaseWhen, expression->args)->expr), calls);
}

// An aggregate's arguments are evaluated for rows that its filter lets pass.
void collect_from_aggregate(const Aggref* aggregate, Calls* calls) {
  if (!calls->in_aggregates || DO_AGGSPLIT_COMBINE(aggregate->aggsplit)) return;
  calls->in_aggregates = false;
  if (aggregate->aggfilter)
    collect_calls(reinterpret_cast<Node*>(aggregate->aggfilter), calls);
  else
    collect_from_list(aggregate->args, calls);
  calls->in_aggregates = true;
}

// Searches an aggregate's surroundings for aggregates, and all else for calls.
void collect_from_call(FuncExpr* call, Calls* calls) {
  if (!calls->in_aggregates && can_batch(call, calls))
    calls->found = list_append_unique(calls->found, call);
  else
    collect_from_list(call->args, calls);
}

struct Replacement {
  List* known;
  List* others;
};

Node* replace_walker(Node* node, void* context) {
  if (!node) return nullptr;
  const auto* replacement = static_cast<Replacement*>(context);
  if (is_leaf(node) || IsA(node, FuncExpr)) {
    ListCell *known, *other;
    forboth (known, replacement->known, other, replacement->others)
      if (equal(lfirst(known), node)) return static_cast<Node*>(copyObjectImpl(lfirst(other)));
  }
  return mutate_children(node, replace_walker, context);
}

bool leaf_walker(Node* node, void* context) {
  if (!node) return false;
  if (is_leaf(node)) {
    auto** leaves = static_cast<List**>(context);
    *leaves = list_append_unique(*leaves, node);
    return false;
  }
  return walk_children(node, leaf_walker, context);
}

}  // namespace

CallKind call_kind(Oid function) {
  if (function < FirstNormalObjectId) return {};
  const Known* found = find_symbol(function);
  if (!found) return {};
  FmgrInfo info;
  fmgr_info(function, &info);  // one that has settings of its own, say, runs through another address
  return info.fn_addr == found->address ? found->kind : CallKind{};
}

bool is_leaf(const Node* node) {
  switch (nodeTag(node)) {
    case T_Var:
    case T_Aggref:
    case T_GroupingFunc:
    case T_WindowFunc:
      return true;
    default:
      return false;
  }
}

List* collect_leaves(Node* expression, List* leaves) {
  leaf_walker(expression, &leaves);
  return leaves;
}

void collect_calls(Node* node, Calls* calls) {
  if (!node) return;
  check_stack_depth();
  switch (nodeTag(node)) {
    case T_List:
      return collect_from_list(reinterpret_cast<List*>(node), calls);
    case T_TargetEntry:
      return collect_calls(reinterpret_cast<Node*>(reinterpret_cast<TargetEntry*>(node)->expr), calls);
    case T_Aggref:
      return collect_from_aggregate(reinterpret_cast<Aggref*>(node), calls);
    case T_FuncExpr:
      return collect_from_call(reinterpret_cast<FuncExpr*>(node), calls);
    case T_OpExpr:
    case T_DistinctExpr:
    case T_NullIfExpr:
      return collect_from_list(reinterpret_cast<OpExpr*>(node)->args, calls);
    case T_ScalarArrayOpExpr:
      return collect_from_list(reinterpret_cast<ScalarArrayOpExpr*>(node)->args, calls);
    case T_BoolExpr:
      return collect_first(reinterpret_cast<BoolExpr*>(node)->args, calls);
    case T_CoalesceExpr:
      return collect_first(reinterpret_cast<CoalesceExpr*>(node)->args, calls);
    case T_CaseExpr:
      return collect_from_case(reinterpret_cast<CaseExpr*>(node), calls);
    case T_SubscriptingRef:
      return collect_calls(reinterpret_cast<Node*>(reinterpret_cast<SubscriptingRef*>(node)->refexpr), calls);
    case T_ArrayCoerceExpr:
      return collect_calls(reinterpret_cast<Node*>(reinterpret_cast<ArrayCoerceExpr*>(node)->arg), calls);
    case T_MinMaxExpr:
      return collect_from_list(reinterpret_cast<MinMaxExpr*>(node)->args, calls);
    case T_RowExpr:
      return collect_from_list(reinterpret_cast<RowExpr*>(node)->args, calls);
    case T_ArrayExpr:
      return collect_from_list(reinterpret_cast<ArrayExpr*>(node)->elements, calls);
    case T_RelabelType:
      return collect_calls(reinterpret_cast<Node*>(reinterpret_cast<RelabelType*>(node)->arg), calls);
    case T_CoerceViaIO:
      return collect_calls(reinterpret_cast<Node*>(reinterpret_cast<CoerceViaIO*>(node)->arg), calls);
    case T_CoerceToDomain:
      return collect_calls(reinterpret_cast<Node*>(reinterpret_cast<CoerceToDomain*>(node)->arg), calls);
    case T_NullTest:
      return collect_calls(reinterpret_cast<Node*>(reinterpret_cast<NullTest*>(node)->arg), calls);
    case T_BooleanTest:
      return collect_calls(reinterpret_cast<Node*>(reinterpret_cast<BooleanTest*>(node)->arg), calls);
    default:
      return;
  }
}

Node* split_ranking(Node* expression, const Calls* calls) {
  if (!expression || !IsA(expression, FuncExpr)) return expression;
  auto* ranking = reinterpret_cast<FuncExpr*>(expression);
  if (!ranking->funcretset || list_length(ranking->args) != 3 || !call_kind(ranking->funcid).ranks) return expression;
  const int count = known_count(static_cast<Node*>(lthird(ranking->args)));
  auto* scores = static_cast<FuncExpr*>(copyObjectImpl(ranking));
  scores->funcretset = false;
  scores->funcresulttype = FLOAT4ARRAYOID;
  if (count > 0) scores->args = list_truncate(scores->args, 2);
  if (count == 0 || !can_batch(scores, calls)) return expression;
  ranking = static_cast<FuncExpr*>(copyObjectImpl(ranking));
  lsecond(ranking->args) = scores;
  return reinterpret_cast<Node*>(ranking);
}

Node* replace_each(Node* expression, List* known, List* others) {
  Replacement replacement{known, others};
  return replace_walker(expression, &replacement);
}

Node* replace_known(Node* expression, List* known, int varno) {
  List* columns = NIL;
  ListCell* cell;
  foreach (cell, known)
    columns = lappend(columns, column(varno, list_length(columns) + 1, static_cast<Node*>(lfirst(cell))));
  return replace_each(expression, known, columns);
}

Var* column(int varno, int number, const Node* expression) {
  return makeVar(varno, static_cast<AttrNumber>(number), exprType(expression), exprTypmod(expression),
                 exprCollation(expression), 0);
}

}  // namespace imagecalc
