#include "runner/budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace imagecalc {
namespace {

using namespace std::chrono_literals;

const Interrupt kNever;
constexpr std::size_t kUnit = 100'000;

TEST(Budget, GivesUntilItIsUsedUp) {
  Budget budget(3 * kUnit, 20ms);
  {
    auto a = budget.take(kUnit, kNever), b = budget.take(2 * kUnit, kNever);
    EXPECT_EQ(budget.used(), 3 * kUnit);
    EXPECT_THROW(budget.take(kUnit, kNever), Error);
    EXPECT_EQ(budget.refused(), 1u);
    auto small = budget.take(Budget::kUncounted, kNever);
    EXPECT_EQ(budget.used(), 3 * kUnit) << "little is not counted";
    b = {};
    EXPECT_EQ(budget.used(), kUnit);
    auto c = budget.take(2 * kUnit, kNever);
  }
  EXPECT_EQ(budget.used(), 0u);
  budget.reset_refused();
  EXPECT_EQ(budget.refused(), 0u);
}

TEST(Budget, WhatIsTooLargeIsGivenAlone) {
  Budget budget(kUnit, 20ms);
  auto huge = budget.take(50 * kUnit, kNever);
  EXPECT_EQ(budget.used(), 50 * kUnit);
  try {
    budget.take(kUnit, kNever);
    ADD_FAILURE() << "there is no room";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::overloaded);
    EXPECT_NE(error.hint().find("imagecalc.runner_memory"), std::string::npos);
  }
  huge = {};
  auto little = budget.take(kUnit, kNever);
  EXPECT_THROW(budget.take(50 * kUnit, kNever), Error) << "not beside another";
}

TEST(Budget, WhoWaitsIsServedWhenThereIsRoom) {
  Budget budget(kUnit, 10min);
  std::optional<Budget::Share> held = budget.take(kUnit, kNever);
  std::atomic<bool> served = false;
  std::jthread waiting([&] {
    auto share = budget.take(kUnit, kNever);
    served = true;
  });
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(served);
  held.reset();
  waiting.join();
  EXPECT_TRUE(served);
}

TEST(Budget, ALargeOneIsNotOvertakenForEver) {
  Budget budget(3 * kUnit, 10min);
  std::atomic<bool> stop = false;
  std::vector<std::jthread> small;
  for (int i = 0; i < 3; ++i) {
    small.emplace_back([&] {
      while (!stop) auto share = budget.take(kUnit, kNever);
    });
  }
  for (int i = 0; i < 20; ++i) auto all = budget.take(9 * kUnit, kNever);
  stop = true;
}

TEST(Budget, PatienceCountsFromTheLastReturn) {
  Budget budget(2 * kUnit, 300ms);
  std::optional<Budget::Share> first = budget.take(kUnit, kNever), second = budget.take(kUnit, kNever);
  std::jthread slow([&] {
    std::this_thread::sleep_for(200ms);
    first.reset();  // not enough for both, but somebody is at work
    std::this_thread::sleep_for(200ms);
    second.reset();
  });
  EXPECT_NO_THROW(budget.take(2 * kUnit, kNever));
}

class Stop : public Interrupt {
 public:
  bool requested() const noexcept override { return stopped; }
  std::atomic<bool> stopped = false;
};

TEST(Budget, WaitingCanBeCancelled) {
  Budget budget(kUnit, 10min);
  auto held = budget.take(kUnit, kNever);
  Stop stop;
  std::jthread canceller([&] {
    std::this_thread::sleep_for(20ms);
    stop.stopped = true;
  });
  try {
    budget.take(kUnit, stop);
    ADD_FAILURE() << "there is no room";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::cancelled);
  }
  EXPECT_EQ(budget.refused(), 0u);
}

TEST(Budget, NeverGivesTooMuch) {
  Budget budget(3 * kUnit, 10min);
  std::atomic<std::size_t> held = 0;
  std::vector<std::jthread> threads;
  for (std::size_t t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        auto share = budget.take(kUnit * (1 + t % 3), kNever);
        ASSERT_LE(held += 1 + t % 3, 3u);
        held -= 1 + t % 3;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(budget.used(), 0u);
}

}  // namespace
}  // namespace imagecalc
