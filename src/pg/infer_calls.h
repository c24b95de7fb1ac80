// The calls of ic_infer, ic_scores and ic_topk in expressions, as the planner sees them.
//
// Here, in infer_plan.cpp and in infer_hooks.cpp the code is Postgres's own kind: no C++ object lives, so ERRORs may pass.
#pragma once

#include "pg/postgres_api.h"

extern "C" {
#include "nodes/nodeFuncs.h"
#include "nodes/pg_list.h"

PGDLLEXPORT Datum ic_infer_value(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum ic_infer_picture(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum ic_scores_value(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum ic_scores_picture(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum ic_topk_value(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum ic_topk_picture(PG_FUNCTION_ARGS);
}

namespace imagecalc {

// Postgres 15 declares these without the parameters of what they call.
using Walker = bool (*)(Node*, void*);
using Mutator = Node* (*)(Node*, void*);
inline bool walk_children(Node* node, Walker walker, void* context) {
  return expression_tree_walker(node, reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(walker)), context);
}
inline Node* mutate_children(Node* node, Mutator mutator, void* context) {
  return expression_tree_mutator(node, reinterpret_cast<Node* (*)()>(reinterpret_cast<void (*)()>(mutator)), context);
}

struct CallKind {
  bool known;    // else it is none of ours
  bool picture;  // of a picture file, not of a value
  bool scores;   // all probabilities, not the label
  bool ranks;    // ic_topk: see split_ranking
};
CallKind call_kind(Oid function);

// What a node gets from below or computes itself, and calls may be computed from: columns, aggregates, window functions.
bool is_leaf(const Node* node);

// Adds the leaves of an expression to the list, each once.
List* collect_leaves(Node* expression, List* leaves);

// Adds the calls that can be batched, each once: those that are evaluated for every row for which the expression is (not
// those behind a CASE, OR or COALESCE, say), with a model that no row changes and an image that is a leaf.
struct Calls {
  int varno;           // look for images in columns of this input only; 0: wherever they are from
  bool any_image;      // an image may be computed from leaves: errors in that are met early, by all rows together
  bool in_aggregates;  // look for the calls in the arguments of aggregates, instead of outside of them
  Bitmapset* outer;    // not null: images are made from these parameters, which a nested loop sets for each row, not leaves
  List* found;
};
void collect_calls(Node* expression, Calls* calls);

// ic_topk returns a set, which no node can return as a column. What it needs of an image can be one: its scores. So where
// these can be batched a call ic_topk(model, image, k) becomes ic_topk(model, SCORES, k), which only sorts; SCORES is a call
// of the same function, by its privileges, that returns real[] and has the arguments (model, image), and k where that may be
// NULL or too small: then there is nothing to score. Anything else is returned as it is.
Node* split_ranking(Node* expression, const Calls* calls);

// A copy in which every member of `known` is replaced by the one of `others` at its place.
Node* replace_each(Node* expression, List* known, List* others);

// A copy in which every member of `known` is replaced by a column of that number, of `varno`.
Node* replace_known(Node* expression, List* known, int varno);

Var* column(int varno, int number, const Node* expression);

}  // namespace imagecalc
