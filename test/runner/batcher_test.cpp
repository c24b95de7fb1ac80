#include "runner/batcher.h"
#include "runner/device/device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <list>
#include <mutex>
#include <new>
#include <optional>
#include <set>
#include <thread>
#include <vector>

namespace imagecalc {
namespace {

using namespace std::chrono_literals;

constexpr TensorSize kSize{2, 2};
constexpr std::size_t kImageFloats = 3 * 2 * 2;
constexpr float kRefused = -1;  // an image that begins with this is refused

// An image on a device, which has its score already.
struct SentScore : SentImages {
  explicit SentScore(float what) : score(what) {}
  Arrival arrival() override { return {}; }

  static constexpr float kUs = 10;  // that a device takes for it
  const float score;
};

// Its score of an image is the image's first float. It can be held in the middle of a call.
class HeldModel : public Model {
 public:
  struct Call {
    const float* tensors;
    std::size_t images;
    std::thread::id thread;
    bool operator==(const Call&) const = default;
  };

  Scores run(const TensorBatch& given, TensorSize size, int, Wish) override {
    const auto& [batch, sent, images] = given;
    std::unique_lock lock(mutex_);
    calls_.push_back({batch, images, std::this_thread::get_id()});
    changed_.notify_all();
    changed_.wait(lock, [&] { return !held_; });
    if (out_of_memory_) throw std::bad_alloc();
    const std::size_t floats = std::size_t{3} * size.height * size.width;
    Scores scores{1, {}};
    for (std::size_t i = 0; sent.empty() && i < images; ++i) scores.values.push_back(batch[i * floats]);
    for (const SentImages* part : sent) {
      scores.values.push_back(static_cast<const SentScore*>(part)->score);
      scores.device.model_us += SentScore::kUs;
    }
    if (std::count(scores.values.begin(), scores.values.end(), kRefused)) throw Error(Fault::bad_model, "refused");
    return scores;
  }
  ModelDescription describe() const override { return {}; }
  std::size_t memory() const override { return 0; }

  void hold(bool held) {
    std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  void run_out_of_memory() {
    std::lock_guard lock(mutex_);
    out_of_memory_ = true;
  }
  void wait_for_calls(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return calls_.size() >= count; });
  }
  std::vector<Call> calls() const {
    std::lock_guard lock(mutex_);
    return calls_;
  }
  std::vector<std::size_t> batches() const {
    std::vector<std::size_t> sizes;
    for (const Call& call : calls()) sizes.push_back(call.images);
    return sizes;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Call> calls_;
  bool held_ = false, out_of_memory_ = false;
};

using Batches = std::vector<std::size_t>;

// A session in a thread of its own: its images begin with `first`, `first` + 1 and so on, and so should its scores.
class Session {
 public:
  Session(Batcher& batcher, Model& model, float first, std::size_t images = 1, TensorSize size = kSize)
      : tensors_(images * 3 * size.height * size.width), thread_([=, this, &batcher, &model] {
          const std::size_t floats = tensors_.size() / images;
          for (std::size_t i = 0; i < images; ++i) {
            tensors_[i * floats] = first == kRefused ? first : first + static_cast<float>(i);
          }
          try {
            BatchAnswer answer = batcher.run(
                {.model = model, .batch = {tensors_.data(), images}, .size = size, .session = this});
            right_ = answer.scores->outputs == 1;
            for (std::size_t i = 0; i < images; ++i) {
              right_ = right_ && answer.scores->values.at(answer.first + i) == first + static_cast<float>(i);
            }
          } catch (...) {
            failure_ = std::current_exception();
          }
        }) {}

  bool is_right() {
    thread_.join();
    return right_;
  }
  std::exception_ptr failure() {
    thread_.join();
    return failure_;
  }

 private:
  std::vector<float> tensors_;
  bool right_ = false;
  std::exception_ptr failure_;
  std::jthread thread_;  // the last: it uses the others
};

// Sessions that gather while one core is busy with a first one.
class Gathering : public testing::Test {
 protected:
  void SetUp() override {
    model_.hold(true);
    first_.emplace(batcher_, model_, 1000.0F);
    model_.wait_for_calls(1);
  }
  Session& add(float first, std::size_t images = 1) { return add(model_, first, images, kSize); }
  Session& add(HeldModel& model, float first, std::size_t images, TensorSize size) {
    const std::size_t waiting = batcher_.waiting();
    Session& session = sessions_.emplace_back(batcher_, model, first, images, size);
    while (batcher_.waiting() == waiting) std::this_thread::yield();
    return session;
  }
  void release() {
    model_.hold(false);
    EXPECT_TRUE(first_->is_right());
  }
  void expect_all_right() {
    for (Session& session : sessions_) EXPECT_TRUE(session.is_right());
  }

  HeldModel model_;
  Buffers buffers_;
  Batcher batcher_{1, buffers_};
  std::optional<Session> first_;
  std::list<Session> sessions_;
};

TEST(Batcher, ALoneRequestRunsAtOnceInItsOwnThreadUncopied) {
  HeldModel model;
  Buffers buffers;
  Batcher batcher(2, buffers, 10min);
  const std::vector<float> image(kImageFloats, 7);
  for (int i = 0; i < 3; ++i) {
    BatchAnswer answer = batcher.run({.model = model, .batch = {image.data(), 1}, .size = kSize});
    EXPECT_EQ(answer.scores->values, std::vector<float>{7});
    EXPECT_EQ(model.calls().back(), (HeldModel::Call{image.data(), 1, std::this_thread::get_id()}));
  }
  EXPECT_EQ(batcher.waiting(), 0u);
}

// Two batches of a device at a time; what comes meanwhile goes together, and not with tensors.
TEST(Batcher, ADeviceHasTurnsOfItsOwn) {
  HeldModel model;
  Buffers buffers;
  Batcher batcher(1, buffers, {}, 1);
  model.hold(true);
  std::vector<std::jthread> sessions;
  std::atomic<int> right = 0;
  auto ask_device = [&](float score) {
    sessions.emplace_back([&, score] {
      SentScore image(score);
      SentImages* const sent = &image;
      const BatchAnswer answer = batcher.run(
          {.model = model, .batch = TensorBatch({&sent, 1}, 1), .size = kSize, .wish = {EngineChoice::automatic, false, 0}});
      right += answer.scores->values.at(answer.first) == score && answer.device.model_us == SentScore::kUs;
    });
  };
  auto ask_tensors = [&](int device) {
    sessions.emplace_back([&, device] {
      const std::vector<float> image(kImageFloats, 7);
      const BatchAnswer answer = batcher.run(
          {.model = model, .batch = {image.data(), 1}, .size = kSize, .wish = {EngineChoice::automatic, false, device}});
      right += answer.scores->values.at(answer.first) == 7;
    });
  };
  ask_device(1);
  model.wait_for_calls(1);
  ask_device(2);
  model.wait_for_calls(2);
  ask_tensors(kCpu);
  model.wait_for_calls(3);
  for (const float score : {3.0f, 4.0f, 5.0f}) {
    ask_device(score);
    while (batcher.waiting() != static_cast<std::size_t>(score) - 2) std::this_thread::yield();
  }
  ask_tensors(0);
  while (batcher.waiting() != 4) std::this_thread::yield();
  model.hold(false);
  sessions.clear();
  EXPECT_EQ(right, 7);
  auto batches = model.batches();
  std::sort(batches.begin(), batches.end());
  EXPECT_EQ(batches, (Batches{1, 1, 1, 1, 3}));
}

TEST(Batcher, RequestsRunSideBySideWhileThereAreCores) {
  HeldModel model;
  Buffers buffers;
  Batcher batcher(2, buffers);
  model.hold(true);
  Session first(batcher, model, 1);
  model.wait_for_calls(1);  // else the second may find it gathering, and go with it
  Session second(batcher, model, 2);
  model.wait_for_calls(2);
  model.hold(false);
  EXPECT_TRUE(first.is_right());
  EXPECT_TRUE(second.is_right());
  EXPECT_EQ(model.batches(), (Batches{1, 1}));
}

TEST_F(Gathering, WhatWaitsGoesTogether) {
  for (int i = 0; i < 5; ++i) add(static_cast<float>(10 * i), static_cast<std::size_t>(i) + 1);
  release();
  expect_all_right();
  EXPECT_EQ(model_.batches(), (Batches{1, 15}));
  EXPECT_EQ(batcher_.waiting(), 0u);
}

TEST_F(Gathering, AFewOverWholePiecesWaitForOthers) {
  for (int i = 0; i < 12; ++i) add(static_cast<float>(i));
  release();
  expect_all_right();
  EXPECT_EQ(model_.batches(), (Batches{1, 8, 4}));
}

TEST_F(Gathering, ManyOverWholePiecesDoNot) {
  for (int i = 0; i < 13; ++i) add(static_cast<float>(i));
  release();
  expect_all_right();
  EXPECT_EQ(model_.batches(), (Batches{1, 13}));
}

TEST_F(Gathering, ABatchHasABound) {
  for (int i = 0; i < 9; ++i) add(static_cast<float>(100 * i), 20);
  release();
  expect_all_right();
  EXPECT_EQ(model_.batches(), (Batches{1, 120, 60})) << "six of them fit";
}

TEST_F(Gathering, OnlyOneModelAndOneSizeGoTogether) {
  HeldModel other;
  add(1), add(model_, 2, 1, {2, 3}), add(other, 3, 1, kSize), add(4), add(model_, 5, 1, {2, 3}), add(other, 6, 1, kSize);
  release();
  expect_all_right();
  EXPECT_EQ(model_.batches(), (Batches{1, 2, 2}));
  EXPECT_EQ(other.batches(), (Batches{2}));
}

TEST_F(Gathering, LargeRequestsRunAlone) {
  add(1), add(2);
  Session large(batcher_, model_, 0, Batcher::kLargeImages);
  release();
  expect_all_right();
  EXPECT_TRUE(large.is_right());
  Batches batches = model_.batches();
  EXPECT_EQ(std::multiset<std::size_t>(batches.begin(), batches.end()),
            (std::multiset<std::size_t>{1, 2, Batcher::kLargeImages}));
}

TEST_F(Gathering, WhatTheModelRefusesFailsAlone) {
  add(1);
  Session& bad = add(kRefused);
  add(3, 4);
  release();
  EXPECT_TRUE(sessions_.front().is_right());
  EXPECT_TRUE(sessions_.back().is_right());
  std::exception_ptr failure = bad.failure();
  ASSERT_TRUE(failure);
  EXPECT_THROW(std::rethrow_exception(failure), Error);
  Batches batches = model_.batches();
  EXPECT_EQ(std::multiset<std::size_t>(batches.begin(), batches.end()), (std::multiset<std::size_t>{1, 1, 1, 4, 6}));
}

TEST_F(Gathering, WhatConcernsAllReachesAll) {
  for (int i = 0; i < 4; ++i) add(static_cast<float>(i));
  model_.run_out_of_memory();
  model_.hold(false);
  EXPECT_THROW(std::rethrow_exception(first_->failure()), std::bad_alloc);
  for (Session& session : sessions_) EXPECT_THROW(std::rethrow_exception(session.failure()), std::bad_alloc);
  EXPECT_EQ(batcher_.waiting(), 0u);
}

// Two sessions that ask one model for one image at a time.
class Company : public testing::Test {
 protected:
  void ask(int session) {
    batcher_.run({.model = model_, .batch = {image_.data(), 1}, .size = kSize, .session = &sessions_[session]});
  }
  // From here on the first one is waited for, for up to twice as long as it takes here to come back.
  void let_the_first_come_back_after(std::chrono::milliseconds gap) {
    ask(0);
    std::this_thread::sleep_for(gap);
    ask(0);
  }

  HeldModel model_;
  Buffers buffers_;
  Batcher batcher_{2, buffers_, 10min};
  const std::vector<float> image_ = std::vector<float>(kImageFloats, 7);
  const int sessions_[2] = {};
};

TEST_F(Company, IsWaitedForWhereItComesBackSoon) {
  let_the_first_come_back_after(1s);
  std::jthread second([&] { ask(1); });
  while (batcher_.waiting() == 0) std::this_thread::yield();
  ask(0);
  second.join();
  EXPECT_EQ(model_.batches(), (Batches{1, 1, 2})) << "the second session waited for the first one";
}

TEST_F(Company, IsNotWaitedForLongerThanItTook) {
  let_the_first_come_back_after(10ms);
  ask(1);
  EXPECT_EQ(model_.batches(), (Batches{1, 1, 1}));
}

TEST_F(Company, IsNotWaitedForAfterItsFirstRequest) {
  ask(0);
  ask(1);
  EXPECT_EQ(model_.batches(), (Batches{1, 1}));
}

// How many of a session's requests got anything else than their own scores, or their own refusal.
int wrong_answers(Batcher& batcher, Model& model, int session) {
  int wrong = 0;
  std::vector<float> tensors(3 * kImageFloats);
  for (int i = 0; i < 2000; ++i) {
    const std::size_t images = 1 + static_cast<std::size_t>(i + session) % 3;
    const bool bad = i % 50 == session;
    const float score = bad ? kRefused : static_cast<float>(session * 10000 + i);
    for (std::size_t k = 0; k < images; ++k) tensors[k * kImageFloats] = score;
    try {
      BatchAnswer answer = batcher.run(
          {.model = model, .batch = {tensors.data(), images}, .size = kSize, .session = &tensors});
      wrong += bad;
      for (std::size_t k = 0; k < images; ++k) wrong += answer.scores->values.at(answer.first + k) != score;
    } catch (const Error&) {
      wrong += !bad;
    }
  }
  return wrong;
}

TEST(Batcher, NobodyIsForgottenUnderLoad) {
  for (auto batch_wait : {0us, 50us}) {
    HeldModel model;
    Buffers buffers;
    Batcher batcher(2, buffers, batch_wait);
    std::atomic<int> wrong = 0;
    {
      std::vector<std::jthread> sessions;
      for (int s = 0; s < 8; ++s) sessions.emplace_back([&, s] { wrong += wrong_answers(batcher, model, s); });
    }
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(batcher.waiting(), 0u);
  }
}

}  // namespace
}  // namespace imagecalc
