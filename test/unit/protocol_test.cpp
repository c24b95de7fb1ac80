#include "protocol/messages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace imagecalc {
namespace {

Normalisation some_normalisation() { return {{1.5f, -2.25f, 0.0f}, {100.0f, 3.5f, 1e-3f}}; }

ModelInput format_input() {
  ModelInput input;
  input.format = parse_format("2x2c/b16/k4/q20@128");
  return input;
}

ModelInput rgb_input() {
  ModelInput input;
  input.rgb = true;
  input.rgb_size = 256;
  return input;
}

ModelHash some_hash() {
  ModelHash hash;
  for (std::size_t i = 0; i < hash.size(); ++i) hash[i] = static_cast<std::uint8_t>(7 * i + 1);
  return hash;
}

// One of every kind, filled, and the odd ones: empty lists, absent optionals.
std::vector<Message> all_messages() {
  InferRequest infer{some_hash(), format_input(), some_normalisation(), 123456789012, EngineChoice::openvino, true,
                     {DeviceChoice::Kind::cuda, 3}, true, {}};
  infer.items = {
      {InferItem::Kind::value, {1, 2, 3}}, {InferItem::Kind::picture, {}}, {InferItem::Kind::picture, Blob(300, 0xFF)}};
  TrainSetup setup{.model = Blob(50, 9),
                   .classes = 4,
                   .size = 256,
                   .threads = 2,
                   .batch_size = 16,
                   .learning_rate = 0.01f,
                   .one_cycle = false,
                   .balanced = true,
                   .augmentation = Augmentation::none,
                   .seed = ~0ull,
                   .max_pixels = 1,
                   .memory = 12345,
                   .spool_folder = "base/pgsql_tmp",
                   .device = {DeviceChoice::Kind::cuda, 1}};
  return {Hello{},
          Hello{99},
          Done{},
          Failure{Fault::wrong_format, 17, "the value is of another format", "Cast it."},
          Failure{},
          infer,
          InferRequest{some_hash(), rgb_input(), {}, 0, {}, {}, {}, {}, {}},
          InferReply{2,
                     {0.5f, -1.0f, 3.25f, 1e30f},
                     12.5f,
                     99.0f,
                     {{Fault::bad_picture, 1, "damaged", "Replace it."}},
                     {EngineChoice::openvino, EngineChoice::libtorch},
                     true,
                     "cuda:1",
                     {5, 6, 7}},
          NeedModel{},
          LoadModel{some_hash(), Blob(1000, 3)},
          InspectModel{Blob(10, 1), {{24, 24}, {82, 1}}, true},
          InspectReply{{{4, ""}, {0, "too small"}}, 123456, false, true, "it has none"},
          setup,
          AddImages{{{Blob(20, 5), 3, true}, {Blob{}, 0, false}}},
          AddReply{879, 222, {{3, "not a JPEG file"}}},
          MeasureStorage{16, 3},
          StorageReply{std::vector<float>(6048, 1.5f), std::vector<float>(6048, 0.25f)},
          Train{format_input(), 20, 7, std::nullopt, true, {}, 0, true},
          Train{rgb_input(), 20, 7, Blob(100, 8), false, 0.5f, 4, false},
          Progress{3, 20, 0.75f},
          TrainReply{0.91f, 0.99f, 0.3f, 12.0f, 20, std::nullopt, 0.9f, some_normalisation(), Blob(40, 2)},
          TrainReply{0.91f, 0.99f, 0.3f, 12.0f, 10, 0.8f, std::nullopt, {}, Blob(40, 2)},
          ReadStatistics{},
          ResetStatistics{},
          Leaving{},
          MakeStem{4},
          StemReply{Blob(30, 6)},
          TrainReady{8},
          StatisticsReply{.pid = 77,
                          .threads = 2,
                          .engines = {EngineChoice::libtorch, EngineChoice::openvino},
                          .devices = {"cuda:0 (a GPU)", "cuda:1 (another)"},
                          .device_note = "no driver",
                          .uptime_us = 1 << 30,
                          .since_reset_us = 5,
                          .memory = 1u << 31,
                          .connections = 3,
                          .queue = 1,
                          .refused = 1ull << 40,
                          .served = {7, 90, 1, 12.5, 99, 4, 5, 6, {1, 2, 3}},
                          .models = {{some_hash(), 4000, {}, {}},
                                     {{}, 1, {1, 2, 3, 4, 5, 0, 0, 0, {6, 7, 8}},
                                      {{{24, 32}, 8, EngineChoice::automatic, true, "cuda:1", EngineChoice::openvino, "openvino", 119.0f, true,
                                        true, "too slow"}}}}}};
}

Message decode_frame(const Blob& frame) {
  if (frame.size() < kFrameHeaderSize) throw Error(Fault::protocol, "shorter than a header");
  FrameHeader header = decode_frame_header(std::span(frame).first<kFrameHeaderSize>());
  return decode_body(header, std::span(frame).subspan(kFrameHeaderSize));
}

// Decodes bytes that may be anything: a message, which must then survive another round, or Error(protocol).
void expect_message_or_error(const Blob& frame) {
  try {
    Message message = decode_frame(frame);
    EXPECT_EQ(decode_frame(encode_frame(message)).index(), message.index());
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::protocol) << error.what();
  }
}

void set_length(Blob& frame) {
  auto length = static_cast<std::uint32_t>(frame.size() - 4);
  std::memcpy(frame.data(), &length, sizeof length);
}

TEST(Protocol, TheTestHasEveryKind) {
  std::vector<bool> seen(std::variant_size_v<Message>);
  for (const Message& message : all_messages()) seen[message.index()] = true;
  EXPECT_EQ(std::count(seen.begin(), seen.end(), false), 0);
}

// The same bytes again means that no field was lost or mixed up on the way, given that each is written (checked below).
TEST(Protocol, RoundTrip) {
  for (const Message& message : all_messages()) {
    Blob frame = encode_frame(message);
    Message back = decode_frame(frame);
    EXPECT_EQ(back.index(), message.index());
    EXPECT_EQ(encode_frame(back), frame) << "kind " << message.index();
  }
}

TEST(Protocol, EnginesHaveNames) {
  for (EngineChoice engine : {EngineChoice::automatic, EngineChoice::libtorch, EngineChoice::openvino}) {
    EXPECT_EQ(parse_engine(to_string(engine)), engine);
  }
  EXPECT_THROW(parse_engine("Auto"), Error);
  EXPECT_THROW(parse_engine(""), Error);
}

TEST(Protocol, FieldsArrive) {
  auto messages = all_messages();
  auto back = [](const Message& message) { return decode_frame(encode_frame(message)); };

  auto failure = std::get<Failure>(back(messages[3]));
  EXPECT_EQ(failure.fault, Fault::wrong_format);
  EXPECT_EQ(failure.item, 17);
  EXPECT_EQ(failure.message, "the value is of another format");
  EXPECT_EQ(failure.hint, "Cast it.");

  auto infer = std::get<InferRequest>(back(messages[5]));
  EXPECT_EQ(infer.model, some_hash());
  EXPECT_EQ(infer.input, format_input());
  EXPECT_EQ(infer.normalisation.mean, some_normalisation().mean);
  EXPECT_EQ(infer.normalisation.deviation, some_normalisation().deviation);
  EXPECT_EQ(infer.max_pixels, 123456789012);
  EXPECT_EQ(infer.engine, EngineChoice::openvino);
  EXPECT_TRUE(infer.bf16);
  EXPECT_EQ(to_string(infer.device), "cuda:3");
  EXPECT_TRUE(infer.device_decode);
  ASSERT_EQ(infer.items.size(), 3u);
  EXPECT_EQ(infer.items[0].kind, InferItem::Kind::value);
  EXPECT_EQ(infer.items[0].bytes, (Blob{1, 2, 3}));
  EXPECT_EQ(infer.items[2].kind, InferItem::Kind::picture);
  EXPECT_EQ(infer.items[2].bytes, Blob(300, 0xFF));
  EXPECT_EQ(std::get<InferRequest>(back(messages[6])).input, rgb_input());

  auto setup = std::get<TrainSetup>(back(messages[12]));
  EXPECT_EQ(setup.model, Blob(50, 9));
  EXPECT_EQ(setup.classes, 4u);
  EXPECT_EQ(setup.size, 256u);
  EXPECT_EQ(setup.threads, 2u);
  EXPECT_EQ(setup.batch_size, 16u);
  EXPECT_EQ(setup.learning_rate, 0.01f);
  EXPECT_FALSE(setup.one_cycle);
  EXPECT_EQ(setup.seed, ~0ull);
  EXPECT_EQ(setup.max_pixels, 1);
  EXPECT_EQ(setup.memory, 12345u);
  EXPECT_EQ(setup.spool_folder, "base/pgsql_tmp");
  EXPECT_EQ(to_string(setup.device), "cuda:1");

  EXPECT_TRUE(std::get<InspectReply>(back(messages[11])).onnx);
  EXPECT_EQ(std::get<InspectReply>(back(messages[11])).stem_refusal, "it has none");
  EXPECT_FALSE(std::get<Train>(back(messages[17])).start_from.has_value());
  EXPECT_TRUE(std::get<Train>(back(messages[17])).try_bf16);
  EXPECT_TRUE(std::get<Train>(back(messages[17])).more_follow);
  EXPECT_EQ(std::get<Train>(back(messages[18])).start_from, Blob(100, 8));
  EXPECT_EQ(std::get<Train>(back(messages[18])).least_halfway, 0.5f);
  EXPECT_EQ(std::get<Train>(back(messages[18])).stem, 4u);
  EXPECT_FALSE(std::get<Train>(back(messages[18])).more_follow);
  EXPECT_EQ(std::get<TrainReady>(back(messages[27])).at_once, 8u);
  auto scored = std::get<InferReply>(back(messages[7]));
  EXPECT_EQ(scored.scores, (std::vector<float>{0.5f, -1.0f, 3.25f, 1e30f}));
  ASSERT_EQ(scored.failures.size(), 1u);
  EXPECT_EQ(scored.failures[0].item, 1);
  EXPECT_EQ(scored.failures[0].message, "damaged");
  EXPECT_TRUE(scored.alone);
  EXPECT_EQ(scored.device, "cuda:1");
  EXPECT_EQ(scored.device_times.decode_us, 6);
}

TEST(Protocol, ARequestCanBeToldFromItsBeginning) {
  const auto messages = all_messages();
  for (const Message& message : messages) {
    const Blob frame = encode_frame(message);
    const FrameHeader header = decode_frame_header(std::span(frame).first<kFrameHeaderSize>());
    auto beginning = std::span(frame).subspan(kFrameHeaderSize);
    beginning = beginning.first(std::min(beginning.size(), outline_size()));
    const auto found = outline(header, beginning);
    const auto* request = std::get_if<InferRequest>(&message);
    ASSERT_EQ(found.has_value(), request != nullptr) << "kind " << message.index();
    if (!request) continue;
    EXPECT_EQ(found->input, request->input);
    EXPECT_EQ(found->items, request->items.size());
    EXPECT_THROW(outline(header, beginning.first(beginning.size() - 1)), Error);
  }
}

TEST(Protocol, EveryTruncationIsAnError) {
  for (const Message& message : all_messages()) {
    Blob frame = encode_frame(message);
    std::size_t step = frame.size() > 2000 ? 97 : 1;
    for (std::size_t size = 0; size < frame.size(); size += step) {
      Blob part(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_THROW(decode_frame(part), Error);
      if (size <= kFrameHeaderSize) continue;
      set_length(part);  // as if the sender had meant it so
      try {
        decode_frame(part);
        ADD_FAILURE() << "kind " << message.index() << " cut to " << size << " of " << frame.size();
      } catch (const Error& error) {
        EXPECT_EQ(error.fault(), Fault::protocol);
      }
    }
  }
}

TEST(Protocol, LeftOverBytesAreAnError) {
  for (const Message& message : all_messages()) {
    Blob frame = encode_frame(message);
    frame.push_back(0);
    set_length(frame);
    EXPECT_THROW(decode_frame(frame), Error) << "kind " << message.index();
  }
}

TEST(Protocol, FlippedBytes) {
  for (const Message& message : all_messages()) {
    const Blob frame = encode_frame(message);
    for (std::size_t place = 0; place < std::min<std::size_t>(frame.size(), 600); ++place) {
      for (std::uint8_t flip : {0x01, 0x80, 0xFF}) {
        Blob damaged = frame;
        damaged[place] ^= flip;
        expect_message_or_error(damaged);
      }
    }
  }
}

TEST(Protocol, RandomBytes) {
  std::mt19937 random(1);
  for (int i = 0; i < 50000; ++i) {
    Blob frame(kFrameHeaderSize + random() % 80);
    bool small = random() % 2;  // small numbers pass for counts and flags more often
    for (auto& byte : frame) byte = static_cast<std::uint8_t>(small ? random() % 3 : random());
    set_length(frame);
    frame[4] = static_cast<std::uint8_t>(random() % std::variant_size_v<Message>);
    expect_message_or_error(frame);
  }
}

TEST(Protocol, FrameHeaderLimits) {
  auto header = [](std::uint32_t length, std::uint8_t kind) {
    std::array<std::uint8_t, kFrameHeaderSize> bytes{};
    std::memcpy(bytes.data(), &length, sizeof length);
    bytes[4] = kind;
    return decode_frame_header(bytes);
  };
  EXPECT_EQ(header(1, 1).body_size, 0u);
  EXPECT_EQ(header(kMaxFrameSize - 4, 0).body_size, kMaxFrameSize - 5);
  EXPECT_THROW(header(0, 0), Error);
  EXPECT_THROW(header(kMaxFrameSize - 3, 0), Error);
  EXPECT_THROW(header(0xFFFFFFFF, 0), Error);
  EXPECT_THROW(header(1, std::variant_size_v<Message>), Error);
  EXPECT_THROW(header(1, 255), Error);
}

// A list that claims more items than bytes are left costs nothing.
TEST(Protocol, CountsAreCheckedBeforeMemoryIsAskedFor) {
  Blob frame = encode_frame(AddImages{});
  std::memset(frame.data() + kFrameHeaderSize, 0xFF, 4);
  EXPECT_THROW(decode_frame(frame), Error);
  frame = encode_frame(StorageReply{});
  std::memset(frame.data() + kFrameHeaderSize, 0xFF, 4);
  EXPECT_THROW(decode_frame(frame), Error);
}

TEST(Protocol, AFrameHasALimit) {
  try {
    encode_frame(LoadModel{{}, Blob(kMaxFrameSize)});
    ADD_FAILURE() << "a frame of more than 512 MB";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::limit_exceeded);
    EXPECT_FALSE(error.hint().empty());
  }
}

}  // namespace
}  // namespace imagecalc
