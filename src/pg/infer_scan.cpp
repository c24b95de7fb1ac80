#include "pg/infer_scan.h"

#include <algorithm>

#include "pg/infer_batches.h"
#include "pg/infer_calls.h"
#include "pg/scoring.h"
#include "pg/settings.h"
#include "pg/wall.h"

extern "C" {
#include "access/parallel.h"
#include "catalog/objectaccess.h"
#include "commands/explain.h"
#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "storage/dsm.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
}

namespace imagecalc {
namespace {

// ---- the plan node. Its scan tuple (custom_scan_tlist) is the child's columns, then the calls.

// Places in custom_private.
enum Private { kLayout, kColumns, kAll, kEager, kLimitCount, kLimitOffset, kPlaces };

// Grows with every change of custom_private or of what workers share.
constexpr int kCurrentLayout = 1;

int64 plan_nodes = 0;

// A worker loads the library anew: it may have been replaced since the session has.
void check_layout(const CustomScan* plan) {
  if (list_length(plan->custom_private) == kPlaces && IsA(linitial(plan->custom_private), Integer) &&
      intVal(linitial(plan->custom_private)) == kCurrentLayout)
    return;
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                  errmsg("this plan was made by another version of imagecalc"),
                  errhint("The library was replaced while this session was connected. Connect again.")));
}

int64 private_integer(const CustomScan* plan, Private which) {
  return intVal(list_nth(plan->custom_private, which));
}

// ---- its execution

struct InferScanState {
  CustomScanState custom;  // must be first: Postgres knows it as this
  InferInput input;
  TupleTableSlot* below;  // the child's row
  InferBatches* batches;
  MemoryContextCallback at_end;
  bool failing;  // a row's turn has come that cannot be classified
  dsm_segment* shared;  // in parallel plans: WorkerTotals
  InferTotals before;   // what workers of earlier scans have done: in a worker, those that had its place
};

// What workers have done, each in its place. In memory of its own, which outlives them and the Gather's.
struct WorkerTotals {
  int count;
  InferTotals of_worker[FLEXIBLE_ARRAY_MEMBER];
};
WorkerTotals* worker_totals(const InferScanState* scan) {
  return static_cast<WorkerTotals*>(dsm_segment_address(scan->shared));
}

InferScanState* state_of(CustomScanState* node) { return reinterpret_cast<InferScanState*>(node); }
const CustomScan* plan_of(const CustomScanState* node) { return reinterpret_cast<const CustomScan*>(node->ss.ps.plan); }

// However execution ends.
void drop_batches(void* state) {
  auto* scan = static_cast<InferScanState*>(state);
  delete scan->batches;
  scan->batches = nullptr;
}

// How many labels a call of ic_topk wants; null where that matters to nobody here.
Expr* count_of(const FuncExpr* call) {
  return list_length(call->args) > 2 ? static_cast<Expr*>(lthird(call->args)) : nullptr;
}

// What the executor does before it calls a function.
void check_may_call(Oid function) {
  const AclResult allowed = pg_proc_aclcheck(function, GetUserId(), ACL_EXECUTE);
  if (allowed != ACLCHECK_OK) aclcheck_error(allowed, OBJECT_FUNCTION, get_func_name(function));
  InvokeFunctionExecuteHook(function);
}

int add_source(InferInput* input, List** seen, FuncExpr* call, PlanState* parent, bool picture) {
  List* arguments = lappend(list_copy(call->args), makeInteger(picture));
  ListCell* cell;
  foreach (cell, *seen)
    if (equal(lfirst(cell), arguments)) return foreach_current_index(cell);
  *seen = lappend(*seen, arguments);
  input->sources[input->source_count] = {.model = ExecInitExpr(static_cast<Expr*>(linitial(call->args)), parent),
                                         .image = ExecInitExpr(static_cast<Expr*>(lsecond(call->args)), parent),
                                         .count = ExecInitExpr(count_of(call), parent),
                                         .picture = picture};
  return input->source_count++;
}

// Calls of the same model with the same image share their scores.
void read_calls(const CustomScan* plan, InferInput* input, PlanState* parent) {
  const auto columns = static_cast<int>(private_integer(plan, kColumns));
  const auto calls = static_cast<Size>(list_length(plan->custom_scan_tlist) - columns);
  input->sources = static_cast<ImageSource*>(palloc0(calls * sizeof(ImageSource)));
  input->results = static_cast<InferResult*>(palloc0(calls * sizeof(InferResult)));
  List* seen = NIL;
  for (int i = columns; i < list_length(plan->custom_scan_tlist); ++i) {
    auto* call = reinterpret_cast<FuncExpr*>(list_nth_node(TargetEntry, plan->custom_scan_tlist, i)->expr);
    const CallKind kind = call_kind(call->funcid);
    if (!kind.known) elog(ERROR, "function %u has changed since the query was planned", call->funcid);
    check_may_call(call->funcid);
    input->results[input->result_count++] = {.source = add_source(input, &seen, call, parent, kind.picture),
                                             .scores = kind.scores};
  }
}

Node* create_state(CustomScan* plan);
extern const CustomExecMethods kExecMethods;

// Where a scan of a table below, be it under another ImageInfer, has its current row: what WHERE CURRENT OF looks for.
TupleTableSlot* scanned_row(PlanState* child) {
  switch (nodeTag(child)) {
    case T_SeqScanState:
    case T_SampleScanState:
    case T_IndexScanState:
    case T_BitmapHeapScanState:
    case T_TidScanState:
    case T_TidRangeScanState:
      return reinterpret_cast<ScanState*>(child)->ss_ScanTupleSlot;
    case T_CustomScanState: {
      auto* node = reinterpret_cast<CustomScanState*>(child);
      return node->methods == &kExecMethods && node->ss.ss_currentRelation ? node->ss.ss_ScanTupleSlot : nullptr;
    }
    default:
      return nullptr;
  }
}

int64 evaluate_number(const CustomScan* plan, Private which, PlanState* parent, ExprContext* context) {
  auto* number = static_cast<Expr*>(list_nth(plan->custom_private, which));
  if (!number) return 0;
  bool null;
  const Datum value = ExecEvalExprSwitchContext(ExecInitExpr(number, parent), context, &null);
  return null ? 0 : DatumGetInt64(value);
}

// How many rows will be read at most; 0 where that is not known. The Limit itself complains of nonsense.
int64 read_limit(const CustomScan* plan, PlanState* parent, ExprContext* context) {
  const int64 count = evaluate_number(plan, kLimitCount, parent, context);
  const int64 offset = evaluate_number(plan, kLimitOffset, parent, context);
  return count > 0 && offset >= 0 && count <= PG_INT64_MAX - offset ? count + offset : 0;
}

void begin(CustomScanState* node, EState* estate, int flags) {
  auto* scan = state_of(node);
  const CustomScan* plan = plan_of(node);
  check_layout(plan);
  flags &= ~(EXEC_FLAG_REWIND | EXEC_FLAG_BACKWARD | EXEC_FLAG_MARK);
  outerPlanState(node) = ExecInitNode(outerPlan(plan), estate, flags);
  scan->input.child = outerPlanState(node);
  scan->input.scanned = scanned_row(scan->input.child);
  if (scan->input.scanned)
    node->ss.ss_currentRelation = reinterpret_cast<ScanState*>(scan->input.child)->ss_currentRelation;
  scan->input.expressions = CreateExprContext(estate);
  scan->input.memory = estate->es_query_cxt;
  scan->input.all = private_integer(plan, kAll) != 0;
  scan->input.eager = private_integer(plan, kEager) != 0;
  read_calls(plan, &scan->input, &node->ss.ps);
  if (flags & EXEC_FLAG_EXPLAIN_ONLY) return;
  scan->input.limit = read_limit(plan, &node->ss.ps, scan->input.expressions);
  if (scan->input.limit > 0) ExecSetTupleBound(scan->input.limit, outerPlanState(node));  // a Sort may keep but the first
  scan->below = ExecInitExtraTupleSlot(estate, ExecGetResultType(scan->input.child), &TTSOpsHeapTuple);
  scan->at_end = {.func = drop_batches, .arg = scan, .next = nullptr};
  MemoryContextRegisterResetCallback(estate->es_query_cxt, &scan->at_end);
  scan->batches = wall([&] { return new InferBatches(scan->input); });
}

// Which row an error is of.
void say_row(void* state) {
  auto* scan = static_cast<InferScanState*>(state);
  if (scan->failing)
    errcontext("image of row " UINT64_FORMAT " that ImageInfer has read", static_cast<uint64>(scan->batches->row()));
}

// The scan tuple of the next row, or an empty slot.
TupleTableSlot* next_row(InferScanState* scan) {
  TupleTableSlot* slot = scan->custom.ss.ss_ScanTupleSlot;
  ExecClearTuple(slot);
  const auto columns = scan->below->tts_tupleDescriptor->natts;
  ErrorContextCallback context{.previous = error_context_stack, .callback = say_row, .arg = scan};
  error_context_stack = &context;
  MemoryContext outer = MemoryContextSwitchTo(scan->custom.ss.ps.ps_ExprContext->ecxt_per_tuple_memory);
  HeapTuple row = wall([&] {
    return scan->batches->next(slot->tts_values + columns, slot->tts_isnull + columns, &scan->failing);
  });
  MemoryContextSwitchTo(outer);
  error_context_stack = context.previous;
  if (!row) return slot;
  ExecStoreHeapTuple(row, scan->below, false);
  slot_getallattrs(scan->below);
  memcpy(slot->tts_values, scan->below->tts_values, static_cast<Size>(columns) * sizeof(Datum));
  memcpy(slot->tts_isnull, scan->below->tts_isnull, static_cast<Size>(columns) * sizeof(bool));
  ExecStoreVirtualTuple(slot);
  slot->tts_tid = scan->below->tts_tid;
  slot->tts_tableOid = scan->below->tts_tableOid;
  return slot;
}

TupleTableSlot* execute(CustomScanState* node) {
  PlanState* state = &node->ss.ps;
  ExprContext* context = state->ps_ExprContext;
  while (true) {
    CHECK_FOR_INTERRUPTS();
    ResetExprContext(context);
    TupleTableSlot* slot = next_row(state_of(node));
    if (TupIsNull(slot)) return state->ps_ProjInfo ? ExecClearTuple(state->ps_ProjInfo->pi_state.resultslot) : slot;
    context->ecxt_scantuple = slot;
    if (!state->qual || ExecQual(state->qual, context))
      return state->ps_ProjInfo ? ExecProject(state->ps_ProjInfo) : slot;
    InstrCountFiltered1(node, 1);
  }
}

void let_go_of_shared(InferScanState* scan) {
  if (scan->shared) dsm_detach(scan->shared);
  scan->shared = nullptr;
}

void end(CustomScanState* node) {
  auto* scan = state_of(node);
  drop_batches(node);
  let_go_of_shared(scan);
  ExecEndNode(outerPlanState(node));
}

void rescan(CustomScanState* node) {
  wall([&] { state_of(node)->batches->restart(); });
  if (!outerPlanState(node)->chgParam) ExecReScan(outerPlanState(node));
}

// ---- parallel plans: each process has batches of its own; only their totals come together

Size estimate_shared(CustomScanState*, ParallelContext*) { return sizeof(dsm_handle); }

InferTotals totals_of_workers(const InferScanState* scan) {
  InferTotals totals = scan->before;
  if (scan->shared)
    for (int i = 0; i < worker_totals(scan)->count; ++i) totals += worker_totals(scan)->of_worker[i];
  return totals;
}

// In the leader; again, if a Gather is begun anew after its end. Nobody asks for totals where nothing is measured, and
// without memory for them there are none.
void make_shared(CustomScanState* node, ParallelContext* context, void* handle) {
  auto* scan = state_of(node);
  *static_cast<dsm_handle*>(handle) = DSM_HANDLE_INVALID;
  scan->before = totals_of_workers(scan);
  let_go_of_shared(scan);
  if (node->ss.ps.state->es_instrument == 0 || context->nworkers == 0) return;
  const Size size = offsetof(WorkerTotals, of_worker) + static_cast<Size>(context->nworkers) * sizeof(InferTotals);
  scan->shared = dsm_create(size, DSM_CREATE_NULL_IF_MAXSEGMENTS);
  if (!scan->shared) return;
  std::fill_n(worker_totals(scan)->of_worker, context->nworkers, InferTotals{});
  worker_totals(scan)->count = context->nworkers;
  *static_cast<dsm_handle*>(handle) = dsm_segment_handle(scan->shared);
}

void attach_shared(CustomScanState* node, shm_toc*, void* handle) {
  auto* scan = state_of(node);
  if (*static_cast<dsm_handle*>(handle) == DSM_HANDLE_INVALID) return;
  scan->shared = dsm_attach(*static_cast<dsm_handle*>(handle));
  if (scan->shared) scan->before = worker_totals(scan)->of_worker[ParallelWorkerNumber];
}

// May be asked for more than once.
void leave_totals(CustomScanState* node) {
  auto* scan = state_of(node);
  if (!IsParallelWorker() || !scan->shared || !scan->batches) return;
  InferTotals& totals = worker_totals(scan)->of_worker[ParallelWorkerNumber];
  totals = scan->before;
  totals += scan->batches->totals();
}

// ---- EXPLAIN

struct Shown {
  List* models;
  List* inputs;
  List* engines;  // that are asked for
  List* devices;  // the same, but for auto
};

char* copy_text(const std::string& text) {
  return pg([&] { return pstrdup(text.c_str()); });
}

void show_known(const Model& model, Shown* shown) {
  char* input = copy_text(to_string(model.input));
  auto* engine = const_cast<char*>(to_string(wanted_engine(model)).data());
  const DeviceChoice wanted = wanted_device(model);
  char* device = wanted.kind == DeviceChoice::Kind::automatic ? nullptr : copy_text(to_string(wanted));
  pg([&] {
    shown->inputs = lappend(shown->inputs, input);
    shown->engines = list_append_unique_ptr(shown->engines, engine);
    bool is_new = device != nullptr;
    ListCell* cell;
    foreach (cell, shown->devices) is_new = is_new && strcmp(static_cast<char*>(lfirst(cell)), device) != 0;
    if (is_new) shown->devices = lappend(shown->devices, device);
  });
}

// Shows nothing where there is no such model: the query itself will say so; and where none can be looked up any more, as
// auto_explain asks after the end of a query.
void look_up_and_show(const char* name, Shown* shown) {
  if (!ActiveSnapshotSet()) return;
  wall([&] {
    if (const std::shared_ptr<const Model> model = look_up_model(name)) show_known(*model, shown);
  });
}

void show_model(Expr* expression, const Model* known, List* ancestors, ExplainState* es, PlanState* state, Shown* shown) {
  if (known) {
    shown->models = lappend(shown->models, wall([&] { return copy_text(known->name); }));
    wall([&] { show_known(*known, shown); });
    return;
  }
  if (IsA(expression, Const) && !reinterpret_cast<Const*>(expression)->constisnull) {
    char* name = TextDatumGetCString(reinterpret_cast<Const*>(expression)->constvalue);
    shown->models = lappend(shown->models, name);
    look_up_and_show(name, shown);
    return;
  }
  List* context = set_deparse_context_plan(es->deparse_cxt, state->plan, ancestors);
  shown->models = lappend(shown->models, deparse_expression(reinterpret_cast<Node*>(expression), context, false, false));
}

void show_list(const char* label, List* values, ExplainState* es) {
  if (list_length(values) == 1)
    ExplainPropertyText(label, static_cast<char*>(linitial(values)), es);
  else if (values)
    ExplainPropertyList(label, values, es);
}

// Those that computed, once some have; else those that are asked for.
void show_engines(std::uint32_t computed, List* asked, ExplainState* es) {
  List* names = NIL;
  for (const EngineChoice engine : {EngineChoice::libtorch, EngineChoice::openvino})
    if (computed & (1u << static_cast<unsigned>(engine)))
      names = lappend(names, const_cast<char*>(to_string(engine).data()));
  if (!names) names = asked;
  if (!names) names = list_make1(const_cast<char*>(to_string(static_cast<EngineChoice>(setting_engine)).data()));
  show_list("Engine", names, es);
}

// Those that computed, beside the CPU; else those that are asked for.
void show_devices(std::uint64_t computed, List* asked, ExplainState* es) {
  List* names = NIL;
  for (int number = 0; number < 64; ++number)
    if (computed & (std::uint64_t{1} << number)) names = lappend(names, psprintf("cuda:%d", number));
  show_list("Device", names ? names : asked, es);
}

void show_models(CustomScanState* node, const InferTotals& totals, List* ancestors, ExplainState* es) {
  auto* scan = state_of(node);
  Shown shown{};
  for (int i = 0; i < scan->input.source_count; ++i) {
    const Model* known = scan->batches ? scan->batches->model(i) : nullptr;
    show_model(scan->input.sources[i].model->expr, known, ancestors, es, &node->ss.ps, &shown);
  }
  show_list("Model", shown.models, es);
  show_list("Input", shown.inputs, es);
  show_engines(totals.engines, shown.engines, es);
  show_devices(totals.devices, shown.devices, es);
}

void show_totals(const InferTotals& totals, ExplainState* es) {
  constexpr int kDigits = 3;
  ExplainPropertyInteger("Batches", nullptr, static_cast<int64>(totals.batches), es);
  ExplainPropertyInteger("Images", nullptr, static_cast<int64>(totals.images), es);
  ExplainPropertyInteger("Image Bytes", nullptr, static_cast<int64>(totals.bytes), es);
  if (!es->timing) return;
  ExplainPropertyFloat("Fetch Time", "ms", totals.fetch_ms, kDigits, es);
  ExplainPropertyFloat("Transfer Time", "ms", totals.transfer_ms, kDigits, es);
  ExplainPropertyFloat("Decode Time", "ms", totals.decode_ms, kDigits, es);
  ExplainPropertyFloat("Model Time", "ms", totals.model_ms, kDigits, es);
  if (totals.devices) {
    ExplainPropertyFloat("Device Transfer Time", "ms", totals.device_transfer_ms, kDigits, es);
    ExplainPropertyFloat("Device Decode Time", "ms", totals.device_decode_ms, kDigits, es);
    ExplainPropertyFloat("Device Model Time", "ms", totals.device_model_ms, kDigits, es);
  }
  ExplainPropertyFloat("Wait Time", "ms", totals.wait_ms, kDigits, es);
}

void explain(CustomScanState* node, List* ancestors, ExplainState* es) {
  const auto* scan = state_of(node);
  const bool has_run = es->analyze && scan->batches;
  InferTotals totals = totals_of_workers(scan);
  if (has_run) totals += scan->batches->totals();
  show_models(node, totals, ancestors, es);
  ExplainPropertyInteger("Batch Size", nullptr, setting_batch_size, es);
  if (has_run) show_totals(totals, es);
}

// ---- a query may be asked for some of its rows: FETCH, a driver's fetch size, SELECT INTO in PL/pgSQL

ExecutorRun_hook_type next_executor_run = nullptr;

void run_executor(QueryDesc* query, ScanDirection direction, uint64 count, bool once) {
  const uint64 outer = rows_asked_for;
  rows_asked_for = count;
  PG_TRY();
  {
    (next_executor_run ? next_executor_run : standard_ExecutorRun)(query, direction, count, once);
  }
  PG_FINALLY();
  { rows_asked_for = outer; }
  PG_END_TRY();
}

const CustomScanMethods kPlanMethods = {.CustomName = "ImageInfer", .CreateCustomScanState = create_state};

CustomExecMethods make_exec_methods() {
  CustomExecMethods methods{};
  methods.CustomName = "ImageInfer";
  methods.BeginCustomScan = begin;
  methods.ExecCustomScan = execute;
  methods.EndCustomScan = end;
  methods.ReScanCustomScan = rescan;
  methods.EstimateDSMCustomScan = estimate_shared;
  methods.InitializeDSMCustomScan = make_shared;
  methods.InitializeWorkerCustomScan = attach_shared;
  methods.ShutdownCustomScan = leave_totals;
  methods.ExplainCustomScan = explain;
  return methods;
}
const CustomExecMethods kExecMethods = make_exec_methods();

Node* create_state(CustomScan*) {
  auto* scan = static_cast<InferScanState*>(palloc0(sizeof(InferScanState)));
  NodeSetTag(scan, T_CustomScanState);
  scan->custom.methods = &kExecMethods;
  return reinterpret_cast<Node*>(scan);
}

}  // namespace

CustomScan* make_infer_scan(Plan* child, List* calls, Reading reading) {
  constexpr int kFirstNodeId = 1 << 20;  // beyond those that the planner has given out
  CustomScan* scan = makeNode(CustomScan);
  Plan* plan = &scan->scan.plan;
  plan->startup_cost = child->startup_cost;
  plan->total_cost = child->total_cost;
  plan->plan_rows = child->plan_rows;
  plan->plan_width = child->plan_width;
  plan->plan_node_id = kFirstNodeId + static_cast<int>(plan_nodes++ % kFirstNodeId);
  plan->lefttree = child;
  ListCell* cell;
  foreach (cell, child->targetlist) {
    auto* entry = lfirst_node(TargetEntry, cell);
    Var* passed = column(OUTER_VAR, entry->resno, reinterpret_cast<Node*>(entry->expr));
    scan->custom_scan_tlist = lappend(scan->custom_scan_tlist,
                                      makeTargetEntry(reinterpret_cast<Expr*>(passed), entry->resno, nullptr, false));
  }
  const int columns = list_length(scan->custom_scan_tlist);
  foreach (cell, calls) {
    const auto number = static_cast<AttrNumber>(list_length(scan->custom_scan_tlist) + 1);
    scan->custom_scan_tlist = lappend(scan->custom_scan_tlist,
                                      makeTargetEntry(static_cast<Expr*>(lfirst(cell)), number, nullptr, false));
  }
  scan->custom_private = list_make4(makeInteger(kCurrentLayout), makeInteger(columns), makeInteger(reading.all),
                                    makeInteger(reading.eager));
  scan->custom_private = lappend(scan->custom_private, reading.limit ? reading.limit->limitCount : nullptr);
  scan->custom_private = lappend(scan->custom_private, reading.limit ? reading.limit->limitOffset : nullptr);
  scan->methods = &kPlanMethods;
  return scan;
}

bool is_infer_scan(const Plan* plan) {
  return IsA(plan, CustomScan) && reinterpret_cast<const CustomScan*>(plan)->methods == &kPlanMethods;
}

int64 infer_scans_made() { return plan_nodes; }

void register_infer_scan() {
  RegisterCustomScanMethods(&kPlanMethods);
  next_executor_run = ExecutorRun_hook;
  ExecutorRun_hook = run_executor;
}

}  // namespace imagecalc
