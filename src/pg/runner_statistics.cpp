// The functions behind ic_stat_runner, ic_stat_models and ic_stat_plans, and ic_reset_stats.
#include <algorithm>
#include <array>

#include "pg/datum.h"
#include "pg/runner_client.h"
#include "pg/wall.h"

extern "C" {
#include "utils/timestamp.h"
}

using namespace imagecalc;

namespace {

// The result of a set-returning function, row by row, column by column.
class ResultRow {
 public:
  explicit ResultRow(FunctionCallInfo fcinfo) : result_(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo)) {}

  void add(Datum value, bool null = false) {
    values_.at(count_) = value;
    nulls_.at(count_++) = null;
  }
  void add_text(std::string_view text) { text.empty() ? add(Datum{0}, true) : add(text_datum(text)); }
  void add_ms(float us) { add(Float4GetDatum(us / 1000)); }
  void put() {
    pg([&] { tuplestore_putvalues(result_->setResult, result_->setDesc, values_.data(), nulls_.data()); });
    count_ = 0;
  }

 private:
  ReturnSetInfo* const result_;
  std::array<Datum, 24> values_{};
  std::array<bool, 24> nulls_{};
  std::size_t count_ = 0;
};

// Nothing where no runner is up.
std::optional<StatisticsReply> read_statistics() {
  if (!runner_is_up()) return std::nullopt;
  return ask_runner_for<StatisticsReply>(ReadStatistics{});
}

Datum names_datum(const std::vector<std::string>& texts) {
  auto* names = static_cast<Datum*>(allocate(texts.size() * sizeof(Datum)));
  std::transform(texts.begin(), texts.end(), names, [](const std::string& text) { return text_datum(text); });
  const int count = static_cast<int>(texts.size());
  return PointerGetDatum(pg([&] { return construct_array(names, count, TEXTOID, -1, false, TYPALIGN_INT); }));
}

void add_served(ResultRow& row, const Served& served) {
  row.add(Int64GetDatum(static_cast<int64>(served.requests)));
  row.add(Int64GetDatum(static_cast<int64>(served.images)));
  row.add(Int64GetDatum(static_cast<int64>(served.failures)));
  row.add(Float8GetDatum(served.decode_us / 1000));
  row.add(Float8GetDatum(served.model_us / 1000));
  row.add(Float8GetDatum(served.device_transfer_us / 1000));
  row.add(Float8GetDatum(served.device_decode_us / 1000));
  row.add(Float8GetDatum(served.device_model_us / 1000));
  row.add_ms(served.request.p50_us);
  row.add_ms(served.request.p95_us);
  row.add_ms(served.request.p99_us);
}

void put_plan(ResultRow& row, const ModelHash& model, const PlanStatistics& plan) {
  row.add(bytes_datum(model));
  row.add(Int32GetDatum(static_cast<int32>(plan.size.height)));
  row.add(Int32GetDatum(static_cast<int32>(plan.size.width)));
  row.add(Int32GetDatum(static_cast<int32>(plan.batch)));
  row.add_text(std::string(to_string(plan.asked)) + (plan.bf16 ? ", bf16" : ""));
  row.add_text(plan.device.empty() ? "cpu" : plan.device);
  row.add_text(to_string(plan.engine));
  row.add_text(plan.plan);
  row.add(Float4GetDatum(plan.us), plan.us == 0);
  row.add(BoolGetDatum(plan.chosen));
  row.add(BoolGetDatum(plan.settled));
  row.add_text(plan.refusal);
  row.put();
}

}  // namespace

IC_FUNCTION(ic_runner_statistics) {
  InitMaterializedSRF(fcinfo, 0);
  const auto statistics = read_statistics();
  if (!statistics) return Datum{0};
  const TimestampTz now = GetCurrentTimestamp();
  ResultRow row(fcinfo);
  row.add(Int32GetDatum(static_cast<int32>(statistics->pid)));
  row.add(TimestampTzGetDatum(now - statistics->uptime_us));
  row.add(TimestampTzGetDatum(now - statistics->since_reset_us));
  row.add(Int32GetDatum(static_cast<int32>(statistics->threads)));
  std::vector<std::string> engines;
  for (const EngineChoice engine : statistics->engines) engines.emplace_back(to_string(engine));
  row.add(names_datum(engines));
  row.add(names_datum(statistics->devices));
  row.add_text(statistics->device_note);
  row.add(Int64GetDatum(static_cast<int64>(statistics->memory)));
  row.add(Int32GetDatum(static_cast<int32>(statistics->connections)));
  row.add(Int32GetDatum(static_cast<int32>(statistics->queue)));
  row.add(Int64GetDatum(static_cast<int64>(statistics->refused)));
  row.add(Int32GetDatum(static_cast<int32>(statistics->models.size())));
  add_served(row, statistics->served);
  row.put();
  return Datum{0};
}

IC_FUNCTION(ic_model_statistics) {
  InitMaterializedSRF(fcinfo, 0);
  const auto statistics = read_statistics();
  if (!statistics) return Datum{0};
  ResultRow row(fcinfo);
  for (const ModelStatistics& model : statistics->models) {
    row.add(bytes_datum(model.model));
    row.add(Int64GetDatum(static_cast<int64>(model.memory)));
    add_served(row, model.served);
    row.put();
  }
  return Datum{0};
}

IC_FUNCTION(ic_plan_statistics) {
  InitMaterializedSRF(fcinfo, 0);
  const auto statistics = read_statistics();
  if (!statistics) return Datum{0};
  ResultRow row(fcinfo);
  for (const ModelStatistics& model : statistics->models)
    for (const PlanStatistics& plan : model.plans) put_plan(row, model.model, plan);
  return Datum{0};
}

IC_FUNCTION(ic_reset_stats) {
  if (runner_is_up()) ask_runner_for<Done>(ResetStatistics{});
  PG_RETURN_VOID();
}
