#include "runner/buffers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace imagecalc {
namespace {

constexpr std::size_t kBytes = sizeof(float);

TEST(Buffers, GoRound) {
  Buffers buffers(1000 * kBytes);
  const float* place = nullptr;
  {
    Buffers::Buffer buffer = buffers.take(100);
    place = buffer.data();
    EXPECT_EQ(buffer.size(), 100u);
    EXPECT_EQ(buffers.idle_bytes(), 0u) << "it is in use";
  }
  EXPECT_EQ(buffers.idle_bytes(), 100 * kBytes);
  Buffers::Buffer again = buffers.take(90);
  EXPECT_EQ(again.data(), place);
  EXPECT_EQ(again.size(), 100u);
  EXPECT_NE(buffers.take(90).data(), place);
}

TEST(Buffers, TheSmallestThatFitsIsTaken) {
  Buffers buffers(1000 * kBytes);
  const float *small = nullptr, *medium = nullptr;
  {
    Buffers::Buffer a = buffers.take(300), b = buffers.take(100), c = buffers.take(200);
    small = b.data(), medium = c.data();
  }
  Buffers::Buffer first = buffers.take(60), second = buffers.take(60);
  EXPECT_EQ(first.data(), small);
  EXPECT_EQ(second.data(), medium);
  EXPECT_EQ(buffers.take(301).size(), 301u) << "none fits";
  EXPECT_EQ(buffers.take(1).size(), 1u) << "what is left is for larger requests";
}

TEST(Buffers, WhatIsKeptIsBounded) {
  Buffers buffers(1000 * kBytes);
  { Buffers::Buffer huge = buffers.take(1001); }
  EXPECT_EQ(buffers.idle_bytes(), 0u);
  {
    std::vector<Buffers::Buffer> all;
    for (int i = 0; i < 30; ++i) all.push_back(buffers.take(90));
  }
  EXPECT_EQ(buffers.idle_bytes(), 990 * kBytes);
  { Buffers::Buffer large = buffers.take(500); }
  EXPECT_EQ(buffers.idle_bytes(), 950 * kBytes) << "the newest stays";
}

TEST(Buffers, AMovedOneGoesBackOnce) {
  Buffers buffers(1000 * kBytes);
  Buffers::Buffer a = buffers.take(100);
  Buffers::Buffer b = std::move(a);
  EXPECT_EQ(buffers.idle_bytes(), 0u);
  b = buffers.take(200);
  EXPECT_EQ(buffers.idle_bytes(), 100 * kBytes) << "what it held before is back";
  b = {};
  EXPECT_EQ(buffers.idle_bytes(), 300 * kBytes);
}

TEST(Buffers, NoTwoHaveTheSame) {
  Buffers buffers(400 * kBytes);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        Buffers::Buffer buffer = buffers.take(static_cast<std::size_t>(50 + i % 40));
        std::fill_n(buffer.data(), buffer.size(), static_cast<float>(t));
        ASSERT_EQ(std::count(buffer.data(), buffer.data() + buffer.size(), static_cast<float>(t)),
                  static_cast<std::ptrdiff_t>(buffer.size()));
      }
    });
  }
  threads.clear();
  EXPECT_LE(buffers.idle_bytes(), 400 * kBytes);
}

}  // namespace
}  // namespace imagecalc
