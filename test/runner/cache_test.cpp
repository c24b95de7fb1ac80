#include "runner/model_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "models.h"

namespace imagecalc {
namespace {

using test::hash_of;

// An engine that counts what it is asked for.
class CountingEngine : public Engine {
 public:
  // Takes as much memory as its file, until it grows.
  struct Growing : Model {
    explicit Growing(std::size_t bytes) : memory_(bytes) {}
    Scores run(const TensorBatch&, TensorSize, int, Wish) override { return {}; }
    ModelDescription describe() const override { return {}; }
    std::size_t memory() const override { return memory_; }

    std::atomic<std::size_t> memory_;
  };

  std::shared_ptr<Model> load(std::span<const std::uint8_t> bytes) override {
    ++loads;
    std::this_thread::sleep_for(delay);
    if (bytes.size() == 3) throw Error(Fault::bad_model, "three bytes are no model");
    auto model = std::make_shared<Growing>(bytes.size());
    last = model;
    return model;
  }
  InspectReply inspect(const InspectModel&) override { return {}; }
  std::vector<EngineChoice> libraries() const override { return {}; }

  std::atomic<int> loads = 0;
  std::chrono::milliseconds delay{0};
  std::weak_ptr<Growing> last;  // that was loaded
};

TEST(ModelCache, FindsWhatWasLoaded) {
  CountingEngine engine;
  ModelCache cache(engine, 1000);
  Blob a(10, 1);
  EXPECT_EQ(cache.find(hash_of(a)), nullptr);
  cache.load(hash_of(a), a);
  EXPECT_NE(cache.find(hash_of(a)), nullptr);
  cache.load(hash_of(a), a);
  EXPECT_EQ(engine.loads, 1);
}

TEST(ModelCache, LoadsOnceForAll) {
  CountingEngine engine;
  engine.delay = std::chrono::milliseconds(100);
  ModelCache cache(engine, 1000);
  Blob a(10, 1);
  ModelHash hash = hash_of(a);
  {
    std::vector<std::jthread> sessions;
    for (int i = 0; i < 8; ++i) {
      sessions.emplace_back([&] {
        cache.load(hash, a);
        EXPECT_NE(cache.find(hash), nullptr);
      });
    }
  }
  EXPECT_EQ(engine.loads, 1);
}

TEST(ModelCache, TheLeastRecentlyUsedGoes) {
  CountingEngine engine;
  ModelCache cache(engine, 25);
  Blob a(10, 1), b(10, 2), c(10, 3), large(100, 4);
  cache.load(hash_of(a), a);
  cache.load(hash_of(b), b);
  ASSERT_NE(cache.find(hash_of(a)), nullptr);
  cache.load(hash_of(c), c);
  EXPECT_NE(cache.find(hash_of(a)), nullptr);
  EXPECT_EQ(cache.find(hash_of(b)), nullptr);
  EXPECT_NE(cache.find(hash_of(c)), nullptr);
  cache.load(hash_of(large), large);
  EXPECT_NE(cache.find(hash_of(large)), nullptr) << "the newest stays even where it is over the limit alone";
  EXPECT_EQ(cache.find(hash_of(a)), nullptr);
  cache.load(hash_of(a), a);
  EXPECT_EQ(cache.find(hash_of(large)), nullptr);
  EXPECT_NE(cache.find(hash_of(a)), nullptr);
}

TEST(ModelCache, AModelThatGrowsPushesOthersOut) {
  CountingEngine engine;
  ModelCache cache(engine, 25);
  Blob a(10, 1), b(10, 2);
  cache.load(hash_of(a), a);
  cache.load(hash_of(b), b);
  auto grown = engine.last.lock();
  ASSERT_NE(cache.find(hash_of(a)), nullptr);
  grown->memory_ = 24;
  auto forgotten = [&] {
    for (int i = 0; i < 500 && cache.find(hash_of(b)); ++i) {
      if (!cache.find(hash_of(a))) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  };
  EXPECT_TRUE(forgotten()) << "it is noticed while the model is used";
  ASSERT_EQ(cache.list().size(), 1u);
  EXPECT_EQ(cache.list()[0].memory, 24u);
  grown->memory_ = 1000;
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  EXPECT_NE(cache.find(hash_of(b)), nullptr) << "the only one stays";
}

TEST(ModelCache, AFailedLoadLeavesNothing) {
  CountingEngine engine;
  ModelCache cache(engine, 1000);
  Blob bad(3, 1);
  EXPECT_THROW(cache.load(hash_of(bad), bad), Error);
  EXPECT_EQ(cache.find(hash_of(bad)), nullptr);
  EXPECT_THROW(cache.load(hash_of(bad), bad), Error);
  EXPECT_EQ(engine.loads, 2);
}

TEST(ModelCache, RefusesBytesUnderAnotherName) {
  CountingEngine engine;
  ModelCache cache(engine, 1000);
  Blob a(10, 1), b(10, 2);
  EXPECT_THROW(cache.load(hash_of(a), b), Error);
  EXPECT_EQ(engine.loads, 0);
  EXPECT_EQ(cache.find(hash_of(a)), nullptr);
}

}  // namespace
}  // namespace imagecalc
