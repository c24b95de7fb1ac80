#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "codec/encode.h"
#include "codec/value.h"
#include "pictures.h"
#include "runner/inference.h"

namespace imagecalc {
namespace {

const Interrupt kNever;

// ---- the pool

TEST(DecodePool, EveryItemIsDoneOnce) {
  for (int threads : {1, 2, 5}) {
    DecodePool pool(threads);
    for (std::size_t count : {0, 1, 2, 7, 8, 9, 1000}) {
      for (std::size_t step : {1, 3, 8, 2000}) {
        std::vector<std::atomic<int>> times(count);
        pool.for_each_step(count, step, [&](std::size_t first, std::size_t end) {
          EXPECT_LT(first, end);
          EXPECT_LE(end - first, step);
          for (std::size_t i = first; i < end; ++i) ++times.at(i);
        });
        for (auto& time : times) ASSERT_EQ(time, 1) << count << " in steps of " << step;
      }
    }
  }
}

TEST(DecodePool, ASingleStepStaysInItsThread) {
  DecodePool pool(4);
  for (int i = 0; i < 100; ++i) {
    pool.for_each_step(8, 8, [own = std::this_thread::get_id()](std::size_t, std::size_t) {
      EXPECT_EQ(std::this_thread::get_id(), own);
    });
  }
}

TEST(DecodePool, OthersHelpWhileThisThreadIsBusy) {
  DecodePool pool(3);
  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::thread::id> threads;
  pool.for_each_step(3, 1, [&](std::size_t, std::size_t) {
    std::unique_lock lock(mutex);
    threads.insert(std::this_thread::get_id());
    changed.notify_all();
    EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(60), [&] { return threads.size() == 3; }));
  });
  EXPECT_EQ(threads.size(), 3u);
}

TEST(DecodePool, AnExceptionOfAnyThreadReachesTheCaller) {
  DecodePool pool(4);
  for (std::size_t bad : {0, 1, 50, 99}) {
    std::atomic<std::size_t> begun = 0;
    auto work = [&](std::size_t first, std::size_t) {
      ++begun;
      if (first == bad) throw Error(Fault::cancelled, "at " + std::to_string(first));
    };
    try {
      pool.for_each_step(100, 1, work);
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.what(), "at " + std::to_string(bad));
    }
    EXPECT_LE(begun, 100u);
    std::atomic<int> done = 0;
    pool.for_each_step(100, 1, [&](std::size_t, std::size_t) { ++done; });
    EXPECT_EQ(done, 100) << "the pool goes on";
  }
}

TEST(DecodePool, ServesManyAtOnce) {
  DecodePool pool(3);
  std::vector<std::jthread> callers;
  for (int c = 0; c < 6; ++c) {
    callers.emplace_back([&] {
      for (int i = 0; i < 300; ++i) {
        std::atomic<std::size_t> sum = 0;
        pool.for_each_step(40, 3, [&](std::size_t first, std::size_t end) {
          for (std::size_t k = first; k < end; ++k) sum += k;
        });
        ASSERT_EQ(sum, 780u);
      }
    });
  }
}

// ---- a request's items

Blob file_of(unsigned seed, int size = 40) { return write_jpeg(test::drawn_picture(size, size + 7, 3, seed), 90); }

InferRequest request_for(const char* input) {
  InferRequest request;
  request.input = parse_model_input(input);
  request.normalisation = {{5, 1, -1}, {300, 100, 90}};
  request.max_pixels = 1 << 24;
  return request;
}

// Values, or files where the model reads RGB; items at these places are damaged.
InferRequest request_of(const char* input, std::size_t count, const std::set<std::size_t>& bad, bool files = false) {
  InferRequest request = request_for(input);
  std::vector<InferItem> kinds;
  for (unsigned seed = 0; seed < 5; ++seed) {
    Blob file = file_of(seed, 40 + static_cast<int>(seed) / 2);
    if (request.input.rgb || files) {
      kinds.push_back({InferItem::Kind::picture, file});
    } else {
      kinds.push_back({InferItem::Kind::value, write_value(encode_file(file, request.input.format, Limits{}, kNever), 3)});
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    InferItem item = kinds[i % kinds.size()];
    if (bad.contains(i)) item.bytes.resize(item.bytes.size() / 2);
    request.items.push_back(item);
  }
  return request;
}

// What became of each item.
struct Decoding {
  std::vector<std::vector<float>> tensors;  // by item; empty where it failed
  std::map<std::int32_t, std::string> failures;
  std::size_t portions = 0, lasts = 0;
};

Decoding decode_on(int threads, const InferRequest& request, const Interrupt& interrupt = kNever) {
  Buffers buffers;
  DecodePool pool(threads);
  Decoding decoding;
  decoding.tensors.resize(request.items.size());
  decode_items(std::make_shared<const InferRequest>(request), interrupt, buffers, pool, nullptr, [&](Portion&& portion, bool last) {
    ++decoding.portions;
    EXPECT_EQ(decoding.lasts, 0u) << "the last one comes last";
    decoding.lasts += last;
    const std::size_t floats = std::size_t{3} * portion.size.height * portion.size.width;
    EXPECT_TRUE(std::is_sorted(portion.items.begin(), portion.items.end()));
    EXPECT_GE(portion.tensors.size(), portion.items.size() * floats);
    for (std::size_t i = 0; i < portion.items.size(); ++i) {
      auto& tensor = decoding.tensors.at(portion.items[i]);
      EXPECT_TRUE(tensor.empty());
      tensor.assign(portion.tensors.data() + i * floats, portion.tensors.data() + (i + 1) * floats);
    }
    for (const Failure& failure : portion.failures) decoding.failures[failure.item] = failure.message;
    EXPECT_TRUE(portion.items.empty() || portion.decode_us > 0);
  });
  EXPECT_EQ(decoding.lasts, 1u);
  return decoding;
}

// One after the other, each in a request of its own.
Decoding decode_alone(const InferRequest& request) {
  Decoding all;
  for (std::size_t i = 0; i < request.items.size(); ++i) {
    InferRequest one = request;
    one.items = {request.items[i]};
    Decoding decoding = decode_on(1, one);
    all.tensors.push_back(decoding.tensors[0]);
    for (auto& [item, message] : decoding.failures) all.failures[static_cast<std::int32_t>(i)] = message;
  }
  return all;
}

void expect_same_on_any_threads(const InferRequest& request, std::size_t failures) {
  const Decoding expected = decode_alone(request);
  EXPECT_EQ(expected.failures.size(), failures);
  for (int threads : {1, 2, 4}) {
    const Decoding decoding = decode_on(threads, request);
    EXPECT_EQ(decoding.failures, expected.failures);
    EXPECT_TRUE(decoding.tensors == expected.tensors) << request.items.size() << " items on " << threads << " threads";
  }
}

TEST(DecodeItems, TheNumberOfThreadsChangesNothing) {
  for (std::size_t count : {1, 15, 16, 17, 33, 255, 256, 257}) {
    expect_same_on_any_threads(request_of("1x1/b8/k2/q20@64", count, {}), 0);
  }
}

TEST(DecodeItems, ThoseThatFailLeaveNoHoles) {
  using Places = std::set<std::size_t>;
  for (const Places& bad : {Places{0}, Places{39}, Places{0, 39}, Places{15, 16, 17}, Places{1, 3, 5, 7, 20, 21}}) {
    expect_same_on_any_threads(request_of("1x1/b8/k2/q20@64", 40, bad), bad.size());
    expect_same_on_any_threads(request_of("1x1/b8/k2/q20@64", 40, bad, true), bad.size());
    expect_same_on_any_threads(request_of("rgb@32", 40, bad), bad.size());
    expect_same_on_any_threads(request_of("1x1/b8/k2/q20", 40, bad), bad.size());
  }
  Places all;
  for (std::size_t i = 0; i < 300; ++i) all.insert(i);
  expect_same_on_any_threads(request_of("1x1/b8/k2/q20@64", 300, all), 300);
}

TEST(DecodeItems, AnEmptyRequestHasOneEmptyPortion) {
  for (const char* input : {"1x1/b8/k2/q20@64", "1x1/b8/k2/q20", "rgb@32"}) {
    EXPECT_EQ(decode_on(2, request_for(input)).portions, 1u);
  }
}

TEST(DecodeItems, LargeTensorsGoInSmallerPortions) {
  InferRequest request = request_of("rgb@1024", 7, {4});  // 3 MB of floats each: two fit
  expect_same_on_any_threads(request, 1);
  EXPECT_EQ(decode_on(2, request).portions, 4u);
}

// Asked a number of times, then it says stop.
class StopAfter : public Interrupt {
 public:
  explicit StopAfter(int times) : left_(times) {}
  bool requested() const noexcept override { return --left_ < 0; }

 private:
  mutable std::atomic<int> left_;
};

TEST(DecodeItems, CanBeCancelledInTheMiddle) {
  for (const char* input : {"1x1/b8/k2/q20@64", "1x1/b8/k2/q20", "rgb@32"}) {
    const InferRequest request = request_of(input, 200, {});
    for (int threads : {1, 4}) {
      for (int times : {0, 1, 50}) {
        Buffers buffers;
        DecodePool pool(threads);
        try {
          const auto shared = std::make_shared<const InferRequest>(request);
          decode_items(shared, StopAfter(times), buffers, pool, nullptr, [](Portion&&, bool) {});
          ADD_FAILURE() << "it went on to the end";
        } catch (const Error& error) {
          EXPECT_EQ(error.fault(), Fault::cancelled);
        }
      }
    }
  }
}

}  // namespace
}  // namespace imagecalc
