// Requests of several sessions for the same model go through it together.
//
// A lone request never waits. While all cores are busy, small requests for one model and one tensor size gather; the first
// of them asks for the next turn and, once it has it, runs all that have gathered as one batch, in its own thread. So
// batches grow by themselves with the load. Where sessions ask again as soon as they are answered, it first waits for those
// of the last batch: else some of them would always find the model busy, and all batches would be half as large.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "runner/buffers.h"
#include "runner/cores.h"
#include "runner/engine/engine.h"

namespace imagecalc {

// Images for a model. Whoever asks keeps them, and the model, until the answer is there.
struct BatchRequest {
  Model& model;
  TensorBatch batch;
  TensorSize size;
  Wish wish = {};
  const void* session = nullptr;  // who asks; one request of a session at a time
};

// Its scores are those of a batch, from row `first` on.
struct BatchAnswer {
  std::shared_ptr<const Scores> scores;
  std::size_t first = 0;
  float model_us = 0;  // this request's share of the batch's time
  DeviceTimes device = {};  // and of what the device says of it
};

class Batcher {
 public:
  static constexpr std::size_t kMaxImages = 128;
  static constexpr std::size_t kMaxFloats = std::size_t{2} << 20;
  // OpenVINO's models are made for so many images and multiples of it. A few that are over wait for others: they would cost
  // as much as so many, or, one by one by another model, whose weights are not in the CPU's cache, more.
  static constexpr std::size_t kPiece = 8;
  // Requests of so many images, or of a quarter of kMaxFloats, gain nothing from company: they run alone, uncopied.
  static constexpr std::size_t kLargeImages = 32;

  // While a device computes one batch, the next is on its way.
  static constexpr int kBatchesOfADevice = 2;

  // batch_wait: how long a session that was answered is waited for, at most; zero: not at all.
  Batcher(int threads, Buffers& buffers, std::chrono::microseconds batch_wait = {}, std::size_t devices = 0)
      : cores_(threads), buffers_(buffers), batch_wait_(batch_wait) {
    for (std::size_t i = 0; i < devices; ++i) devices_.emplace_back(kBatchesOfADevice);
  }

  // Throws what the model throws at this request alone: where it does not take a batch, each request is run by itself.
  BatchAnswer run(const BatchRequest& request);
  // Never in company.
  BatchAnswer run_alone(const BatchRequest& request);

  // Requests that have neither been answered nor are being run.
  std::size_t waiting() const;

 private:
  using Clock = std::chrono::steady_clock;

  enum class State { waiting, leads, answered, alone };

  struct Slot {
    const BatchRequest& request;
    State state = State::waiting;
    BatchAnswer answer = {};
    std::condition_variable changed = {};
  };
  using Slots = std::list<Slot*>;

  // What is known of a session: how soon it asks again.
  struct Visitor {
    bool here = false;  // its request waits or runs
    Clock::time_point answered = {};
    Clock::duration patience = {};  // twice the time that it took to ask again; zero where that was more than batch_wait
    Clock::time_point leave() const { return answered + patience; }  // when it is no longer waited for
  };

  // Requests that may go together.
  struct Group {
    Slots waiting;
    std::size_t images = 0;   // of those waiting
    std::size_t running = 0;  // requests
    bool led = false;         // whether one of those waiting asks for a turn
    std::unordered_map<const void*, Visitor> visitors;  // by session; empty where nobody is waited for
  };
  using Key = std::tuple<Model*, int, int, Wish, bool>;  // the last: whether they have been sent to a device
  using Groups = std::map<Key, Group>;

  static bool is_large(const BatchRequest& request);
  // Whose turns its batches take: the cores', or the device's.
  Cores& processor_of(const BatchRequest& request);

  Groups::iterator join(Slot& slot);
  void welcome(Group& group, const void* session);
  void sweep();
  static bool is_forgotten(const Visitor& visitor, Clock::time_point now);
  static Clock::time_point company_until(const Group& group);
  void wait_for_company(Group& group, Slot& leader);
  void lead(Groups::iterator group, Slot& leader);
  Slots take(Group& group);
  void compute(Slots& batch, int threads);
  void run_together(Slots& batch, int threads);
  BatchAnswer run_tensors(const Slots& batch, std::size_t images, int threads);
  static BatchAnswer run_sent(const Slots& batch, std::size_t images, int threads);
  void settle(Groups::iterator group, const Slots& batch, State state);

  Cores cores_;
  std::deque<Cores> devices_;
  Buffers& buffers_;
  const std::chrono::microseconds batch_wait_;
  mutable std::mutex mutex_;  // of what follows, and of all slots
  Groups groups_;
};

}  // namespace imagecalc
