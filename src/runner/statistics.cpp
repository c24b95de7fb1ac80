#include "runner/statistics.h"

#include <algorithm>

namespace imagecalc {

namespace {

using Microseconds = std::chrono::duration<std::int64_t, std::micro>;

// The values below which lie so many of them, by the nearest rank.
Percentiles percentiles(std::vector<float> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  auto at = [&](std::size_t percent) { return values[(values.size() * percent + 99) / 100 - 1]; };
  return {at(50), at(95), at(99)};
}

PlanStatistics describe(const ChoiceReport& choice, const PlanReport& plan) {
  PlanStatistics described;
  described.size = {static_cast<std::uint32_t>(choice.size.height), static_cast<std::uint32_t>(choice.size.width)};
  described.batch = static_cast<std::uint32_t>(choice.batch);
  described.asked = choice.asked.engine;
  described.bf16 = choice.asked.bf16;
  described.device = choice.device;
  described.engine = plan.engine;
  described.plan = plan.plan;
  described.us = plan.us;
  described.chosen = plan.engine == choice.chosen.engine && plan.plan == choice.chosen.plan;
  described.settled = choice.settled;
  described.refusal = plan.refusal;
  return described;
}

std::vector<PlanStatistics> describe(const ModelDescription& model) {
  std::vector<PlanStatistics> plans;
  for (const ChoiceReport& choice : model.choices) {
    for (const PlanReport& plan : choice.plans) plans.push_back(describe(choice, plan));
    if (choice.plans.empty()) plans.push_back(describe(choice, choice.chosen));  // nothing was tried yet
  }
  return plans;
}

}  // namespace

void Counters::add(const InferReply& reply, std::size_t images, float request_us) {
  ++served_.requests;
  served_.images += images;
  served_.failures += reply.failures.size();
  served_.decode_us += reply.decode_us;
  served_.model_us += reply.model_us;
  served_.device_transfer_us += reply.device_times.transfer_us;
  served_.device_decode_us += reply.device_times.decode_us;
  served_.device_model_us += reply.device_times.model_us;
  if (window_.size() < kWindow) {
    window_.push_back(request_us);
  } else {
    window_[next_++ % kWindow] = request_us;
  }
}

Served Counters::read() const {
  Served served = served_;
  served.request = percentiles(window_);
  return served;
}

void Statistics::record(const ModelHash& model, const InferReply& reply, std::size_t images, float request_us) {
  std::lock_guard lock(mutex_);
  total_.add(reply, images, request_us);
  by_model_[model].add(reply, images, request_us);
}

void Statistics::reset() {
  std::lock_guard lock(mutex_);
  total_ = {};
  by_model_.clear();
  reset_ = Clock::now();
}

void Statistics::report(const std::vector<ModelCache::Held>& models, StatisticsReply& reply) {
  std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  reply.uptime_us = std::chrono::duration_cast<Microseconds>(now - start_).count();
  reply.since_reset_us = std::chrono::duration_cast<Microseconds>(now - reset_).count();
  reply.served = total_.read();
  std::map<ModelHash, Counters> held;
  for (const auto& [hash, model, memory] : models) {
    Counters& counters = held[hash];
    if (auto known = by_model_.find(hash); known != by_model_.end()) counters = std::move(known->second);
    reply.models.push_back({hash, memory, counters.read(), describe(model->describe())});
  }
  by_model_ = std::move(held);
}

}  // namespace imagecalc
