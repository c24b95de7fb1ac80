// What an ImageInfer node does: rows in, batches to the runner, rows and results out.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "pg/scoring.h"

extern "C" {
#include "executor/executor.h"
}

namespace imagecalc {

// Images that go to one model. Both expressions are of the columns of the node below.
struct ImageSource {
  ExprState* model;
  ExprState* image;
  ExprState* count;  // of labels that are wanted of it; or null: some are. Where it is NULL no image is looked at
  bool picture;      // files, not values
};

// What a call shows of a source's scores.
struct InferResult {
  int source;
  bool scores;  // all probabilities, not the label
};

// What the batches are made from. Plain: fetching rows is Postgres's kind of code.
struct InferInput {
  PlanState* child;
  TupleTableSlot* scanned;  // where the child, a scan of a table, has its current row; else null
  ExprContext* expressions;  // where the sources' are evaluated
  ImageSource* sources;
  int source_count;
  InferResult* results;
  int result_count;
  MemoryContext memory;  // as long as the scan
  bool all;              // all rows will be read: whole batches from the start
  bool eager;            // likewise, unless the query is asked for some rows only
  int64 limit;           // how many rows will be read at most; 0 is not known
};

// How many rows the query at work has been asked for this time; 0: all.
extern std::uint64_t rows_asked_for;

// For EXPLAIN: sums over the whole execution. Plain: workers leave it in shared memory.
struct InferTotals {
  std::uint64_t batches = 0, images = 0, bytes = 0;
  std::uint32_t engines = 0;           // those that computed scores: a bit each, by their numbers
  std::uint64_t devices = 0;           // and the CUDA devices, by theirs up to 63
  double fetch_ms = 0;                 // reading the rows below
  double transfer_ms = 0;              // handing images over to the runner
  double decode_ms = 0, model_ms = 0;  // in the runner, while the rest goes on
  double device_transfer_ms = 0, device_decode_ms = 0, device_model_ms = 0;  // by the devices' clocks
  double wait_ms = 0;                  // with nothing to do until scores came

  InferTotals& operator+=(const InferTotals& other);
};

class InferBatches {
 public:
  explicit InferBatches(const InferInput& input);
  ~InferBatches();
  InferBatches(const InferBatches&) = delete;
  InferBatches& operator=(const InferBatches&) = delete;

  // The next row as the node below gave it, with its place in the table if it is one's, and the calls' results, in the
  // current memory context; null at the end. The row lives until the next call. What is wrong with a row's images is thrown
  // as Error when its turn comes; then `failing` is set, and row() is its number.
  HeapTuple next(Datum* results, bool* nulls, bool* failing);
  std::uint64_t row() const { return row_; }

  // Starts over. What is on its way is given up.
  void restart();

  const InferTotals& totals() const { return totals_; }
  // The source's model, once it is known.
  const Model* model(int source) const;

 private:
  // A source's part in a batch.
  struct Scores {
    std::vector<std::int32_t> item;                 // by row: its place in the request, or -1
    std::map<std::uint32_t, Failure> failures;      // by row: found here, before the runner saw it
    std::map<std::int32_t, Failure> item_failures;  // by place in the request
    std::optional<PendingScores> pending;
    InferReply reply;
  };
  struct Batch {
    MemoryContext memory = nullptr;  // of its rows
    std::vector<HeapTuple> rows;
    std::vector<Scores> sources;
  };
  struct Fetched;

  void fill();
  std::int64_t next_size() const;
  std::size_t most_in_flight() const;
  bool fetch(std::int64_t size);
  Scores send(const ImageSource& source, std::size_t index, const Fetched& fetched);
  void receive(Batch& batch);
  void retire();
  bool know_model(std::size_t source);
  Datum result(const InferResult& call, bool* null);

  const InferInput input_;
  std::vector<std::shared_ptr<const Model>> models_;  // by source
  std::vector<bool> named_;                           // by source: whether models_ is by the parameters as they are now
  MemoryContext images_ = nullptr;                    // of the rows that are being fetched
  std::vector<MemoryContext> spare_;                  // for batches to come
  std::deque<Batch> batches_;                         // the first is current once it has arrived
  bool arrived_ = false;
  std::size_t place_ = 0;    // in the current batch: the next row
  std::uint64_t row_ = 0;    // in the scan: the row returned last, from 1
  std::int64_t wanted_ = 0;  // rows left of the limit
  std::int64_t ramp_ = 0;    // size of the next batch; 0 before the first
  bool ended_ = false;       // the node below has no more
  InferTotals totals_;
};

}  // namespace imagecalc
