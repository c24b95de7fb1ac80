#include "pg/infer_batches.h"

#include <algorithm>

#include "pg/datum.h"
#include "pg/settings.h"
#include "pg/wall.h"

namespace imagecalc {
namespace {

using Clock = std::chrono::steady_clock;

// Beside the batch whose rows are returned: one that the model runs, one that is decoded, one on its way.
constexpr std::size_t kInFlight = 3;

// Ends a batch early, by its images and rows together.
constexpr std::size_t kMaxBatchBytes = std::size_t{16} << 20;

class Stopwatch {
 public:
  explicit Stopwatch(double& ms) : ms_(ms) {}
  ~Stopwatch() { ms_ += std::chrono::duration<double, std::milli>(Clock::now() - start_).count(); }

 private:
  double& ms_;
  const Clock::time_point start_ = Clock::now();
};

// The image of a row, in the current memory context; null for NULL.
const struct varlena* copy_image(ExprState* expression, ExprContext* context) {
  bool null;
  const Datum value = ExecEvalExprSwitchContext(expression, context, &null);
  if (null) return nullptr;
  struct varlena* image = PG_DETOAST_DATUM_PACKED(value);
  if (reinterpret_cast<Pointer>(image) != DatumGetPointer(value)) return image;  // a copy already
  const Size size = VARSIZE_ANY(image);
  return static_cast<const struct varlena*>(memcpy(palloc(size), image, size));
}

}  // namespace

// Rows as they are fetched. Plain, as nothing with a destructor may live meanwhile.
struct InferBatches::Fetched {
  HeapTuple* rows;
  const struct varlena** images;  // [row][source]
  int32* counts;                  // likewise: of labels that are wanted
  int count;
  bool ended;
};

namespace {

// How many labels are wanted of the row's image. False for NULL.
bool read_count(ExprState* expression, ExprContext* context, int32* count) {
  *count = 1;
  if (!expression) return true;
  bool null;
  *count = DatumGetInt32(ExecEvalExprSwitchContext(expression, context, &null));
  return !null;
}

// One row. False at the end of the node below.
template <typename Fetched>
bool fetch_row(const InferInput& input, Fetched& fetched, MemoryContext rows, MemoryContext images, std::size_t* bytes) {
  TupleTableSlot* slot = ExecProcNode(input.child);
  if (TupIsNull(slot)) return false;
  MemoryContext outer = MemoryContextSwitchTo(images);
  input.expressions->ecxt_outertuple = slot;
  const struct varlena** own = fetched.images + fetched.count * input.source_count;
  int32* counts = fetched.counts + fetched.count * input.source_count;
  for (int i = 0; i < input.source_count; ++i) {
    const bool wanted = read_count(input.sources[i].count, input.expressions, counts + i);
    own[i] = wanted ? copy_image(input.sources[i].image, input.expressions) : nullptr;
    if (own[i]) *bytes += VARSIZE_ANY(own[i]);
  }
  ResetExprContext(input.expressions);
  MemoryContextSwitchTo(rows);
  HeapTuple row = ExecCopySlotHeapTuple(slot);
  if (input.scanned) {
    row->t_self = input.scanned->tts_tid;
    row->t_tableOid = input.scanned->tts_tableOid;
  }
  fetched.rows[fetched.count++] = row;
  *bytes += row->t_len;
  MemoryContextSwitchTo(outer);
  return true;
}

MemoryContext make_context(MemoryContext parent, const char* name) {
  return pg([&] { return AllocSetContextCreateInternal(parent, name, ALLOCSET_DEFAULT_SIZES); });
}

}  // namespace

std::uint64_t rows_asked_for = 0;

InferTotals& InferTotals::operator+=(const InferTotals& other) {
  batches += other.batches;
  images += other.images;
  bytes += other.bytes;
  engines |= other.engines;
  devices |= other.devices;
  fetch_ms += other.fetch_ms;
  transfer_ms += other.transfer_ms;
  decode_ms += other.decode_ms;
  model_ms += other.model_ms;
  device_transfer_ms += other.device_transfer_ms;
  device_decode_ms += other.device_decode_ms;
  device_model_ms += other.device_model_ms;
  wait_ms += other.wait_ms;
  return *this;
}

InferBatches::InferBatches(const InferInput& input)
    : input_(input), models_(static_cast<std::size_t>(input.source_count)) {
  images_ = make_context(input.memory, "ImageInfer images");
  restart();
}

// The memory contexts go with input_.memory.
InferBatches::~InferBatches() = default;

void InferBatches::restart() {
  while (!batches_.empty()) retire();
  row_ = 0;
  ended_ = false;
  wanted_ = input_.limit;
  ramp_ = 0;
  named_.assign(models_.size(), false);
}

const Model* InferBatches::model(int source) const { return models_.at(static_cast<std::size_t>(source)).get(); }

HeapTuple InferBatches::next(Datum* results, bool* nulls, bool* failing) {
  if (arrived_ && place_ == batches_.front().rows.size()) retire();
  if (!arrived_) {
    fill();
    if (batches_.empty()) return nullptr;
    receive(batches_.front());
  } else {
    push_requests();
  }
  ++row_;
  *failing = true;
  for (int i = 0; i < input_.result_count; ++i) results[i] = result(input_.results[i], nulls + i);
  *failing = false;
  return batches_.front().rows[place_++];
}

void InferBatches::retire() {
  Batch& batch = batches_.front();
  MemoryContextReset(batch.memory);
  spare_.push_back(batch.memory);
  batches_.pop_front();
  arrived_ = false;
  place_ = 0;
}

// ---- fetching and sending

void InferBatches::fill() {
  if (ramp_ == 0) ramp_ = input_.all || (input_.eager && rows_asked_for == 0) ? setting_batch_size : 1;
  while (!ended_ && batches_.size() < most_in_flight()) {
    const std::int64_t size = next_size();
    if (size == 0 || !fetch(size)) return;
  }
}

// Until it is clear that many rows are wanted, no more are read than twice what was.
std::size_t InferBatches::most_in_flight() const { return wanted_ > 0 || ramp_ >= setting_batch_size ? kInFlight : 1; }

std::int64_t InferBatches::next_size() const {
  const std::int64_t most = setting_batch_size;
  if (wanted_ > 0) return std::min(wanted_, most);
  return input_.limit > 0 ? 0 : std::min(ramp_, most);
}

// A batch of at most so many rows, on its way. False where there was none left.
bool InferBatches::fetch(std::int64_t size) {
  if (spare_.empty()) spare_.push_back(make_context(input_.memory, "ImageInfer rows"));
  const MemoryContext memory = spare_.back();
  Fetched fetched{};
  {
    Stopwatch watch(totals_.fetch_ms);
    pg([&] {
      MemoryContext outer = MemoryContextSwitchTo(input_.memory);  // as nodes expect it of who reads them
      const auto capacity = static_cast<Size>(size);
      fetched.rows = static_cast<HeapTuple*>(MemoryContextAlloc(images_, capacity * sizeof(HeapTuple)));
      fetched.images = static_cast<const struct varlena**>(
          MemoryContextAlloc(images_, capacity * static_cast<Size>(input_.source_count) * sizeof(struct varlena*)));
      fetched.counts = static_cast<int32*>(
          MemoryContextAlloc(images_, capacity * static_cast<Size>(input_.source_count) * sizeof(int32)));
      for (std::size_t bytes = 0; fetched.count < size && bytes < kMaxBatchBytes && !fetched.ended;) {
        CHECK_FOR_INTERRUPTS();
        fetched.ended = !fetch_row(input_, fetched, memory, images_, &bytes);
        push_requests();
      }
      MemoryContextSwitchTo(outer);
    });
  }
  ended_ = fetched.ended;
  if (wanted_ > 0) wanted_ = std::max<std::int64_t>(0, wanted_ - fetched.count);
  else ramp_ = std::min<std::int64_t>(2 * ramp_, setting_batch_size);
  if (fetched.count > 0) {
    Batch batch;
    batch.memory = memory;
    batch.rows.assign(fetched.rows, fetched.rows + fetched.count);
    for (std::size_t i = 0; i < models_.size(); ++i) batch.sources.push_back(send(input_.sources[i], i, fetched));
    batches_.push_back(std::move(batch));
    spare_.pop_back();
  }
  MemoryContextReset(images_);
  return fetched.count > 0;
}

InferBatches::Scores InferBatches::send(const ImageSource& source, std::size_t index, const Fetched& fetched) {
  Stopwatch watch(totals_.transfer_ms);
  Scores scores;
  scores.item.assign(static_cast<std::size_t>(fetched.count), -1);
  InferRequest request;
  for (std::uint32_t row = 0; row < scores.item.size(); ++row) {
    const struct varlena* image = fetched.images[row * models_.size() + index];
    if (!image || !know_model(index)) continue;
    if (request.items.empty()) request = request_for(*models_[index]);
    const Bytes bytes = varlena_bytes(image);
    const auto kind = source.picture ? InferItem::Kind::picture : InferItem::Kind::value;
    try {
      check_label_count(fetched.counts[row * models_.size() + index]);
      check_image(*models_[index], bytes, kind);
    } catch (const Error& error) {
      scores.failures[row] = {error.fault(), -1, error.what(), error.hint()};
      continue;
    }
    scores.item[row] = static_cast<std::int32_t>(request.items.size());
    request.items.push_back({kind, Blob(bytes.begin(), bytes.end())});
    totals_.bytes += bytes.size();
  }
  if (request.items.empty()) return scores;
  totals_.images += request.items.size();
  ++totals_.batches;
  scores.pending.emplace(std::move(request), [name = models_[index]->name] { return read_model_bytes(name); });
  return scores;
}

// Reads the model that the source's expression names: once an execution, as long as that is the same. False for NULL. Where
// no image is there is no need for it.
bool InferBatches::know_model(std::size_t source) {
  if (named_[source]) return models_[source] != nullptr;
  const text* argument = pg([&] {
    bool null;
    const Datum value = ExecEvalExprSwitchContext(input_.sources[source].model, input_.expressions, &null);
    return null ? nullptr : DatumGetTextPP(value);
  });
  const std::string name(argument ? text_view(argument) : std::string_view());
  auto& model = models_[source];
  if (!argument) {
    model.reset();
  } else if (!model || model->name != name) {
    model = find_model(name);
  }
  named_[source] = true;
  return model != nullptr;
}

// ---- receiving and returning

void InferBatches::receive(Batch& batch) {
  Stopwatch watch(totals_.wait_ms);
  for (std::size_t i = 0; i < batch.sources.size(); ++i) {
    Scores& scores = batch.sources[i];
    if (!scores.pending) continue;
    scores.reply = scores.pending->wait();
    scores.pending.reset();
    const auto items = std::count_if(scores.item.begin(), scores.item.end(), [](std::int32_t item) { return item >= 0; });
    check_reply(*models_[i], static_cast<std::size_t>(items), scores.reply);
    for (Failure& failure : scores.reply.failures) scores.item_failures[failure.item] = std::move(failure);
    for (const EngineChoice engine : scores.reply.engines) totals_.engines |= 1u << static_cast<unsigned>(engine);
    totals_.decode_ms += scores.reply.decode_us / 1000;
    totals_.model_ms += scores.reply.model_us / 1000;
    if (!scores.reply.device.empty()) totals_.devices |= std::uint64_t{1} << std::min<int>(63, parse_device(scores.reply.device).number);
    totals_.device_transfer_ms += scores.reply.device_times.transfer_us / 1000;
    totals_.device_decode_ms += scores.reply.device_times.decode_us / 1000;
    totals_.device_model_ms += scores.reply.device_times.model_us / 1000;
  }
  arrived_ = true;
}

Datum InferBatches::result(const InferResult& call, bool* null) {
  const auto source = static_cast<std::size_t>(call.source);
  const Scores& scores = batches_.front().sources[source];
  if (const auto failure = scores.failures.find(static_cast<std::uint32_t>(place_)); failure != scores.failures.end())
    throw_failure(failure->second);
  const std::int32_t item = scores.item[place_];
  *null = item < 0;
  if (*null) return Datum{0};
  if (const auto failure = scores.item_failures.find(item); failure != scores.item_failures.end())
    throw_failure(failure->second);
  const std::size_t outputs = scores.reply.outputs;
  const auto row = std::span(scores.reply.scores).subspan(static_cast<std::size_t>(item) * outputs, outputs);
  return call.scores ? probabilities(row) : best_label(*models_[source], row);
}

}  // namespace imagecalc
