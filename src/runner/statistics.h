// What the runner has served, for ic_stat_runner and its like.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <vector>

#include "runner/model_cache.h"

namespace imagecalc {

// Counts requests, and keeps how long the last ones took.
class Counters {
 public:
  void add(const InferReply& reply, std::size_t images, float request_us);
  Served read() const;

 private:
  static constexpr std::size_t kWindow = 1024;  // as Percentiles says

  Served served_;
  std::vector<float> window_;  // a ring once it is full
  std::size_t next_ = 0;
};

// Several threads may use it at once.
class Statistics {
 public:
  void record(const ModelHash& model, const InferReply& reply, std::size_t images, float request_us);
  void reset();

  // Fills in what it knows: the times, what was served, and the models with their plans. Forgets models that have left the
  // cache.
  void report(const std::vector<ModelCache::Held>& models, StatisticsReply& reply);

 private:
  using Clock = std::chrono::steady_clock;

  const Clock::time_point start_ = Clock::now();
  std::mutex mutex_;
  Clock::time_point reset_ = start_;
  Counters total_;
  std::map<ModelHash, Counters> by_model_;
};

}  // namespace imagecalc
