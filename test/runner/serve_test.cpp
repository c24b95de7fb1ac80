#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <cmath>

#include "codec/encode.h"
#include "codec/value.h"
#include "models.h"
#include "pictures.h"
#include "runner_process.h"

namespace imagecalc {
namespace {

using namespace std::chrono_literals;
using test::Conversation;
using test::exported_model;
using test::hash_of;
using test::ServingRunner;

const Interrupt kNever;

Blob jpeg_file() {
  Blob file = test::photograph_file();
  return file.empty() ? write_jpeg(test::drawn_picture(231, 173, 3), 90) : file;
}

Blob value_of(const Blob& file, const Format& format) {
  return write_value(encode_file(file, format, Limits{}, kNever), 3);
}

InferRequest request_for(const Blob& model, const char* input) {
  InferRequest request;
  request.model = hash_of(model);
  request.input = parse_model_input(input);
  request.normalisation = {{5, 1, -1}, {300, 100, 90}};
  request.max_pixels = 100'000'000;
  return request;
}

Failure failure_of(const Message& reply) {
  auto* failure = std::get_if<Failure>(&reply);
  if (!failure) ADD_FAILURE() << "an answer of kind " << reply.index() << " instead of a failure";
  return failure ? *failure : Failure{};
}

InferReply scores_of(Conversation& conversation, const InferRequest& request) {
  Message reply = conversation.ask(request);
  if (auto* failure = std::get_if<Failure>(&reply)) ADD_FAILURE() << failure->message;
  return std::get<InferReply>(reply);
}

// One runner for the tests that leave it alive.
class Serving : public testing::Test {
 protected:
  static void SetUpTestSuite() { runner_ = new ServingRunner(); }
  static void TearDownTestSuite() {
    delete runner_;
    runner_ = nullptr;
  }
  Conversation connected_with(const Blob& model) {
    Conversation conversation = runner_->connect();
    EXPECT_TRUE(std::holds_alternative<Done>(conversation.ask(LoadModel{hash_of(model), model})));
    return conversation;
  }

  static ServingRunner* runner_;
};
ServingRunner* Serving::runner_ = nullptr;

TEST_F(Serving, OnlyTheOwnerCanReachTheSocket) {
  runner_->connect();
  struct stat status {};
  ASSERT_EQ(::stat(runner_->socket_path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(Serving, AsksForAModelOnceAndKeepsItForAll) {
  Blob model = exported_model("script");
  InferRequest request = request_for(model, "1x1/b32/k3/q50@256");
  request.items.push_back({InferItem::Kind::picture, jpeg_file()});
  Conversation first = runner_->connect(), second = runner_->connect();
  EXPECT_TRUE(std::holds_alternative<NeedModel>(first.ask(request)));
  EXPECT_TRUE(std::holds_alternative<Done>(first.ask(LoadModel{request.model, model})));
  InferReply reply = scores_of(first, request);
  EXPECT_EQ(reply.outputs, 4u);
  ASSERT_EQ(reply.scores.size(), 4u);
  EXPECT_GT(reply.decode_us, 0);
  EXPECT_GT(reply.model_us, 0);
  std::vector<float> again = scores_of(second, request).scores;
  ASSERT_EQ(again.size(), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(again[i], reply.scores[i], 1e-4) << "a faster plan may round differently";
}

TEST_F(Serving, SaysWhatItHasServed) {
  Blob model = exported_model("trace");
  InferRequest request = request_for(model, "1x1/b32/k3/q50@256");
  request.items = {{InferItem::Kind::picture, jpeg_file()}, {InferItem::Kind::picture, Blob(3, 0)}};
  request.engine = EngineChoice::libtorch;
  Conversation conversation = connected_with(model);
  EXPECT_TRUE(std::holds_alternative<Done>(conversation.ask(ResetStatistics{})));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(scores_of(conversation, request).engines, std::vector{EngineChoice::libtorch});

  auto statistics = std::get<StatisticsReply>(conversation.ask(ReadStatistics{}));
  EXPECT_EQ(statistics.engines.at(0), EngineChoice::libtorch);
  EXPECT_EQ(statistics.threads, 2u);
  EXPECT_EQ(statistics.queue, 0u);
  EXPECT_GE(statistics.connections, 1u);
  EXPECT_GT(statistics.memory, 10u << 20);
  EXPECT_GE(statistics.uptime_us, statistics.since_reset_us);
  EXPECT_EQ(statistics.served.requests, 3u);
  ASSERT_FALSE(statistics.models.empty());
  const ModelStatistics& used_last = statistics.models[0];
  EXPECT_EQ(used_last.model, request.model);
  EXPECT_GE(used_last.memory, model.size());
  EXPECT_EQ(used_last.served.images, 6u);
  EXPECT_EQ(used_last.served.failures, 3u);
  EXPECT_GT(used_last.served.model_us, 0);
  EXPECT_GE(used_last.served.request.p99_us, used_last.served.request.p50_us);
  ASSERT_FALSE(used_last.plans.empty());
  EXPECT_EQ(used_last.plans[0].size.height, 24u);
  EXPECT_EQ(used_last.plans[0].asked, EngineChoice::libtorch);
}

TEST_F(Serving, AValueAndItsPictureScoreTheSame) {
  Blob model = exported_model("script"), file = jpeg_file();
  Conversation conversation = connected_with(model);
  for (const char* text : {"1x1/b32/k3/q50@256", "2x2c/b8/k2/q20@128", "4x4/b16/k4/q100"}) {
    InferRequest request = request_for(model, text);
    request.items = {{InferItem::Kind::value, value_of(file, request.input.format)}, {InferItem::Kind::picture, file}};
    InferReply reply = scores_of(conversation, request);
    ASSERT_EQ(reply.scores.size(), 8u);
    for (int i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(reply.scores[i], reply.scores[4 + i]) << text;
    EXPECT_TRUE(std::isfinite(reply.scores[0]));
  }
}

TEST_F(Serving, PicturesOfAnySizeInOneRequest) {
  Blob model = exported_model("script");
  Conversation conversation = connected_with(model);
  InferRequest request = request_for(model, "1x1/b8/k3/q20");
  std::vector<float> one_by_one;
  for (int size : {40, 40, 64, 33, 64}) {
    InferItem item{InferItem::Kind::picture, write_jpeg(test::drawn_picture(size, 50, 3, size), 90)};
    request.items = {item};
    auto scores = scores_of(conversation, request).scores;
    one_by_one.insert(one_by_one.end(), scores.begin(), scores.end());
  }
  request.items.clear();
  for (int size : {40, 40, 64, 33, 64}) {
    request.items.push_back({InferItem::Kind::picture, write_jpeg(test::drawn_picture(size, 50, 3, size), 90)});
  }
  auto together = scores_of(conversation, request).scores;
  ASSERT_EQ(together.size(), one_by_one.size());
  for (std::size_t i = 0; i < together.size(); ++i) EXPECT_NEAR(together[i], one_by_one[i], 1e-4);
}

TEST_F(Serving, ManyImagesComeBackInOrder) {
  Blob model = test::tiny_model(), file = jpeg_file();
  Conversation conversation = connected_with(model);
  InferRequest request = request_for(model, "1x1/b8/k1/q20@64");
  Blob dark = value_of(write_jpeg(Picture{8, 8, 3, std::vector<std::uint8_t>(192, 0)}, 90), request.input.format);
  Blob other = value_of(file, request.input.format);
  for (int i = 0; i < 600; ++i) request.items.push_back({InferItem::Kind::value, i % 5 == 0 ? dark : other});
  auto scores = scores_of(conversation, request).scores;
  ASSERT_EQ(scores.size(), 2400u);
  EXPECT_NE(scores[0], scores[4]);
  for (int i = 0; i < 600; ++i) EXPECT_NEAR(scores[4 * i], scores[i % 5 == 0 ? 0 : 4], 1e-5);
}

TEST_F(Serving, SeveralRequestsOnTheirWayAreAnsweredInOrder) {
  Blob model = test::tiny_model(), file = jpeg_file();
  Conversation conversation = runner_->connect();
  InferRequest request = request_for(model, "1x1/b8/k1/q20@64");
  InferItem good{InferItem::Kind::value, value_of(file, request.input.format)}, bad{InferItem::Kind::value, Blob(9)};
  const ModelHash known = request.model;
  auto send = [&](const ModelHash& hash, std::vector<InferItem> items) {
    request.model = hash;
    request.items = std::move(items);
    conversation.channel().send(request);
  };
  conversation.channel().send(LoadModel{known, model});
  send(known, {good});
  send(known, {bad, good, good});
  send(ModelHash{}, {good});
  send(known, std::vector<InferItem>(300, good));
  send(known, {});
  std::vector<Message> replies;
  for (int i = 0; i < 6; ++i) replies.push_back(conversation.channel().receive().value());
  EXPECT_TRUE(std::holds_alternative<Done>(replies[0]));
  EXPECT_EQ(std::get<InferReply>(replies[1]).scores.size(), 4u);
  EXPECT_EQ(std::get<InferReply>(replies[2]).scores.size(), 12u);
  EXPECT_EQ(std::get<InferReply>(replies[2]).failures.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<NeedModel>(replies[3]));
  EXPECT_EQ(std::get<InferReply>(replies[4]).scores.size(), 1200u);
  EXPECT_EQ(std::get<InferReply>(replies[5]).scores.size(), 0u);
}

TEST_F(Serving, ALoneSessionIsTold) {
  Blob model = test::tiny_model(), file = jpeg_file();
  InferRequest request = request_for(model, "1x1/b8/k1/q20@64");
  request.items = {{InferItem::Kind::value, value_of(file, request.input.format)}};
  Conversation first = connected_with(model), second = connected_with(model);
  const auto is_told_in_time = [&](Conversation& conversation) {
    const auto end = std::chrono::steady_clock::now() + 10s;
    while (std::chrono::steady_clock::now() < end) {
      if (scores_of(conversation, request).alone) return true;
    }
    return false;
  };
  EXPECT_TRUE(is_told_in_time(first));
  EXPECT_FALSE(scores_of(second, request).alone);
  EXPECT_FALSE(scores_of(first, request).alone) << "the other one has just been there";
  EXPECT_TRUE(is_told_in_time(first));
}

TEST_F(Serving, RgbModelsReadPictures) {
  Blob model = exported_model("frozen"), file = jpeg_file();
  Conversation conversation = connected_with(model);
  InferRequest request = request_for(model, "rgb@64");
  request.items = {{InferItem::Kind::picture, file}};
  EXPECT_EQ(scores_of(conversation, request).scores.size(), 4u);
  request.items.push_back({InferItem::Kind::value, value_of(file, parse_format("1x1/b8/k1/q20@64"))});
  InferReply reply = scores_of(conversation, request);
  ASSERT_EQ(reply.failures.size(), 1u);
  EXPECT_EQ(reply.failures[0].fault, Fault::wrong_format);
  EXPECT_EQ(reply.failures[0].item, 1);
}

TEST_F(Serving, AnItemFailsAloneAndTheConnectionLivesOn) {
  Blob model = test::tiny_model(), file = jpeg_file();
  Conversation conversation = connected_with(model);
  InferRequest request = request_for(model, "1x1/b8/k1/q20@64");
  InferItem good{InferItem::Kind::value, value_of(file, request.input.format)};
  auto fault_of = [&](const InferItem& bad, std::int64_t max_pixels) {
    request.items = {good, bad, good};
    request.max_pixels = max_pixels;
    InferReply reply = scores_of(conversation, request);
    EXPECT_EQ(reply.failures.size(), 1u);
    if (reply.failures.empty()) return Fault::internal;
    const Failure& failure = reply.failures[0];
    EXPECT_EQ(failure.item, 1);
    EXPECT_FALSE(failure.message.empty());
    EXPECT_EQ(std::vector(reply.scores.begin(), reply.scores.begin() + 4),
              std::vector(reply.scores.begin() + 8, reply.scores.end())) << "the others have theirs";
    return failure.fault;
  };
  EXPECT_EQ(fault_of({InferItem::Kind::value, value_of(file, parse_format("1x1/b8/k2/q20@64"))}, 1 << 24),
            Fault::wrong_format);
  EXPECT_EQ(fault_of({InferItem::Kind::value, Blob(100, 0x1C)}, 1 << 24), Fault::corrupt_value);
  EXPECT_EQ(fault_of({InferItem::Kind::picture, Blob(100, 0x1C)}, 1 << 24), Fault::unsupported_picture);
  EXPECT_EQ(fault_of({InferItem::Kind::picture, Blob(file.begin(), file.begin() + file.size() / 2)}, 1 << 24),
            Fault::bad_picture);
  EXPECT_EQ(fault_of({InferItem::Kind::picture, write_jpeg(test::drawn_picture(80, 80, 3), 90)}, 64 * 64),
            Fault::limit_exceeded);
  request.items = {good};
  EXPECT_EQ(scores_of(conversation, request).scores.size(), 4u);
}

TEST_F(Serving, BadModelsAreFailures) {
  Conversation conversation = runner_->connect();
  Blob noise(5000, 42), script = exported_model("script");
  Blob truncated(script.begin(), script.begin() + static_cast<std::ptrdiff_t>(script.size() / 2));
  for (const Blob& bad : {noise, truncated, Blob{}}) {
    EXPECT_EQ(failure_of(conversation.ask(LoadModel{hash_of(bad), bad})).fault, Fault::bad_model);
    EXPECT_EQ(failure_of(conversation.ask(InspectModel{bad, {{24, 24}}})).fault, Fault::bad_model);
  }
  EXPECT_EQ(failure_of(conversation.ask(LoadModel{hash_of(noise), script})).fault, Fault::bad_model);

  Blob pair = test::scripted_model("def forward(self, x):\n    return x, x\n");
  ASSERT_TRUE(std::holds_alternative<Done>(conversation.ask(LoadModel{hash_of(pair), pair})));
  InferRequest request = request_for(pair, "rgb@32");
  request.items = {{InferItem::Kind::picture, jpeg_file()}};
  InferReply reply = scores_of(conversation, request);
  ASSERT_EQ(reply.failures.size(), 1u);
  EXPECT_EQ(reply.failures[0].fault, Fault::bad_model);
  EXPECT_EQ(reply.outputs, 0u);
  EXPECT_TRUE(std::holds_alternative<InspectReply>(conversation.ask(InspectModel{script, {{24, 24}}})));
}

TEST_F(Serving, StrangersAreTurnedAway) {
  Conversation conversation = runner_->connect();
  EXPECT_EQ(failure_of(conversation.ask(TrainSetup{})).fault, Fault::protocol);
  EXPECT_TRUE(std::holds_alternative<InspectReply>(conversation.ask(InspectModel{test::tiny_model(), {}})));
  Conversation stale = runner_->connect();
  const std::uint8_t garbage[] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
  ASSERT_EQ(::write(stale.fd(), garbage, sizeof garbage), 5);
  EXPECT_FALSE(stale.channel().receive().has_value()) << "a stream that cannot be understood is closed";
  runner_->connect();
}

TEST_F(Serving, SessionsAreServedTogether) {
  Blob model = exported_model("script");
  InferRequest request = request_for(model, "1x1/b32/k3/q50@256");
  request.items.assign(8, {InferItem::Kind::value, value_of(jpeg_file(), request.input.format)});
  Conversation reference_session = connected_with(model);
  const auto reference = scores_of(reference_session, request).scores;
  std::vector<std::jthread> sessions;
  for (int s = 0; s < 6; ++s) {
    sessions.emplace_back([&] {
      Conversation conversation = runner_->connect();
      for (int i = 0; i < 20; ++i) {
        auto scores = scores_of(conversation, request).scores;
        ASSERT_EQ(scores.size(), reference.size());
        for (std::size_t k = 0; k < scores.size(); ++k) ASSERT_NEAR(scores[k], reference[k], 1e-4);
      }
    });
  }
}

TEST_F(Serving, SingleImagesOfManySessionsGetTheirOwnScores) {
  Blob model = exported_model("script");
  InferRequest request = request_for(model, "1x1/b8/k4/q20@64");
  Conversation reference_session = connected_with(model);
  std::vector<std::vector<float>> reference;
  for (unsigned s = 0; s < 8; ++s) {
    Blob file = write_jpeg(test::drawn_picture(80, 60, 3, s), 90);
    request.items.assign(1, {InferItem::Kind::value, value_of(file, request.input.format)});
    reference.push_back(scores_of(reference_session, request).scores);
  }
  EXPECT_NE(reference[0], reference[1]);
  std::vector<std::jthread> sessions;
  for (unsigned s = 0; s < 8; ++s) {
    sessions.emplace_back([&, s, request]() mutable {
      Conversation conversation = runner_->connect();
      Blob file = write_jpeg(test::drawn_picture(80, 60, 3, s), 90);
      request.items.assign(1, {InferItem::Kind::value, value_of(file, request.input.format)});
      for (int i = 0; i < 200; ++i) {
        auto scores = scores_of(conversation, request).scores;
        ASSERT_EQ(scores.size(), 4u);
        for (std::size_t k = 0; k < 4; ++k) ASSERT_NEAR(scores[k], reference[s][k], 1e-4);
      }
    });
  }
}

TEST(Server, EndsWithItsLifeline) {
  ServingRunner runner;
  Conversation conversation = runner.connect();
  runner.cut_lifeline();
  auto status = runner.child().wait(3s);
  ASSERT_TRUE(status.has_value());
  EXPECT_TRUE(WIFEXITED(*status) && WEXITSTATUS(*status) == 0);
  EXPECT_TRUE(std::holds_alternative<Leaving>(conversation.channel().receive().value()));
  EXPECT_FALSE(conversation.channel().receive().has_value());
}

TEST(Server, EndsOnSigtermAndFinishesWhatIsInFlight) {
  ServingRunner runner;
  Conversation conversation = runner.connect();
  Blob model = exported_model("script");
  conversation.ask(LoadModel{hash_of(model), model});
  InferRequest request = request_for(model, "1x1/b8/k4/q20@256");
  request.items.assign(10, {InferItem::Kind::picture, jpeg_file()});
  conversation.channel().send(request);
  std::this_thread::sleep_for(20ms);
  runner.child().signal(SIGTERM);
  auto reply = conversation.channel().receive();
  ASSERT_TRUE(reply.has_value());
  EXPECT_TRUE(std::holds_alternative<InferReply>(*reply));
  auto status = runner.child().wait(3s);
  ASSERT_TRUE(status.has_value());
  EXPECT_TRUE(WIFEXITED(*status) && WEXITSTATUS(*status) == 0);
}

// A request of so many bytes and small tensors: a value, and a damaged one.
InferRequest large_request(const Blob& model, std::size_t bytes) {
  InferRequest request = request_for(model, "1x1/b8/k1/q20@64");
  request.items = {{InferItem::Kind::value, value_of(jpeg_file(), request.input.format)},
                   {InferItem::Kind::value, Blob(bytes, 0x1C)}};
  return request;
}

TEST(Server, WhatFindsNoRoomWaitsForIt) {
  ServingRunner runner(1, {"--request-bytes", "3000000", "--request-patience", "600000"});
  const Blob model = test::tiny_model();
  Conversation first = runner.connect();
  ASSERT_TRUE(std::holds_alternative<Done>(first.ask(LoadModel{hash_of(model), model})));
  for (std::size_t bytes : {1'000'000, 10'000'000}) {  // one has room at a time; the larger ones have no room at all
    const InferRequest request = large_request(model, bytes);
    std::vector<std::jthread> sessions;
    for (int s = 0; s < 8; ++s) {
      sessions.emplace_back([&] {
        Conversation conversation = runner.connect();
        for (int i = 0; i < 5; ++i) {
          const InferReply reply = scores_of(conversation, request);
          ASSERT_EQ(reply.scores.size(), 8u);
          ASSERT_EQ(reply.failures.size(), 1u);
        }
      });
    }
  }
  auto statistics = std::get<StatisticsReply>(first.ask(ReadStatistics{}));
  EXPECT_EQ(statistics.refused, 0u);
  EXPECT_EQ(statistics.served.requests, 80u);
}

// A session that sends a request only in part holds its room.
TEST(Server, IsRefusedWhereNoRoomComesFree) {
  ServingRunner runner(1, {"--request-bytes", "3000000", "--request-patience", "200"});
  const Blob model = test::tiny_model();
  Conversation conversation = runner.connect();
  ASSERT_TRUE(std::holds_alternative<Done>(conversation.ask(LoadModel{hash_of(model), model})));
  const InferRequest large = large_request(model, 1'000'000), small = large_request(model, 10);
  {
    Conversation holder = runner.connect();
    const Blob frame = encode_frame(large);
    ASSERT_EQ(::write(holder.fd(), frame.data(), 1000), 1000);
    std::this_thread::sleep_for(100ms);
    for (int i = 0; i < 3; ++i) {
      const Failure failure = failure_of(conversation.ask(large));
      EXPECT_EQ(failure.fault, Fault::overloaded);
      EXPECT_NE(failure.hint.find("imagecalc.runner_memory"), std::string::npos);
      EXPECT_EQ(scores_of(conversation, small).scores.size(), 8u) << "small ones find room";
    }
    EXPECT_EQ(failure_of(conversation.ask(LoadModel{hash_of(model), Blob(1'000'000)})).fault, Fault::overloaded);
    EXPECT_EQ(std::get<StatisticsReply>(conversation.ask(ReadStatistics{})).refused, 4u);
  }
  EXPECT_EQ(scores_of(conversation, large).scores.size(), 8u) << "the holder has gone";
  conversation.ask(ResetStatistics{});
  EXPECT_EQ(std::get<StatisticsReply>(conversation.ask(ReadStatistics{})).refused, 0u);
}

TEST(Server, ManySessionsDoNotMakeItGrow) {
  ServingRunner runner(1, {"--request-bytes", "20000000", "--request-patience", "600000"});
  const Blob model = test::tiny_model();
  Conversation observer = runner.connect();
  ASSERT_TRUE(std::holds_alternative<Done>(observer.ask(LoadModel{hash_of(model), model})));
  const InferRequest request = large_request(model, 8'000'000);
  scores_of(observer, request);
  const auto before = std::get<StatisticsReply>(observer.ask(ReadStatistics{})).memory;
  std::atomic<std::uint64_t> most = 0;
  {
    std::vector<std::jthread> sessions;
    for (int s = 0; s < 30; ++s) {
      sessions.emplace_back([&] {
        Conversation conversation = runner.connect();
        for (int i = 0; i < 3; ++i) conversation.channel().send(request);
        for (int i = 0; i < 3; ++i) ASSERT_TRUE(conversation.channel().receive().has_value());
      });
    }
    for (int i = 0; i < 40; ++i) {
      most = std::max<std::uint64_t>(most, std::get<StatisticsReply>(observer.ask(ReadStatistics{})).memory);
      std::this_thread::sleep_for(10ms);
    }
  }
  EXPECT_LT(most, before + (150u << 20)) << "90 requests would take 700 MB";
}

// A message that is not whole was not begun, and whoever sent it is told so.
TEST(Server, SaysThatItLeaves) {
  ServingRunner runner;
  Conversation idle = runner.connect(), busy = runner.connect();
  const Blob model = test::tiny_model();
  busy.ask(LoadModel{hash_of(model), model});
  const InferRequest request = large_request(model, 10);
  const Blob frame = encode_frame(request);
  busy.channel().send(request);
  ASSERT_EQ(::write(busy.fd(), frame.data(), frame.size() / 2), static_cast<ssize_t>(frame.size() / 2));
  runner.child().signal(SIGTERM);
  EXPECT_TRUE(std::holds_alternative<InferReply>(busy.channel().receive().value()));
  EXPECT_TRUE(std::holds_alternative<Leaving>(busy.channel().receive().value()));
  EXPECT_TRUE(std::holds_alternative<Leaving>(idle.channel().receive().value()));
  EXPECT_FALSE(busy.channel().receive().has_value());
  auto status = runner.child().wait(3s);
  ASSERT_TRUE(status.has_value());
  EXPECT_TRUE(WIFEXITED(*status) && WEXITSTATUS(*status) == 0);
}

TEST(Server, AClientThatLeavesStopsItsWork) {
  ServingRunner runner(1);
  Blob model = exported_model("script");
  InferRequest request = request_for(model, "rgb@256");
  request.items.assign(2000, {InferItem::Kind::picture, jpeg_file()});
  {
    Conversation leaving = runner.connect();
    leaving.ask(LoadModel{hash_of(model), model});
    leaving.channel().send(request);
    std::this_thread::sleep_for(50ms);
  }
  Conversation staying = runner.connect();
  request.items.resize(1);
  auto start = std::chrono::steady_clock::now();
  scores_of(staying, request);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 15s) << "2000 images take far longer";
}

TEST(Server, RefusesWrongArguments) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{IMAGECALC_RUNNER},
                                                    {IMAGECALC_RUNNER, "--serve", "--socket", "s"},
                                                    {IMAGECALC_RUNNER, "--train", "--threads", "zero"},
                                                    {IMAGECALC_RUNNER, "--train", "--batch-wait", "-1"}}) {
    test::Child child(arguments, [] { ::close(STDERR_FILENO); });
    auto status = child.wait(30s);
    ASSERT_TRUE(status.has_value());
    EXPECT_TRUE(WIFEXITED(*status) && WEXITSTATUS(*status) == 2);
  }
}

}  // namespace
}  // namespace imagecalc
