// Models on devices, with the CPU as the device: all but CUDA itself.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "codec/encode.h"
#include "codec/rans.h"
#include "codec/value.h"
#include "host_backend.h"
#include "models.h"
#include "pictures.h"
#include "runner/device/plugin.h"
#include "runner/device/torch_device.h"
#include "runner/engine/openvino_plan.h"
#include "runner/engine/torch_plans.h"
#include "runner/engine/trial.h"
#include "runner_process.h"
#include "seal.h"

namespace imagecalc {
namespace {

using test::Conversation;
using test::exported_model;
using test::hash_of;
using test::HostBackend;
using test::ServingRunner;

constexpr Normalisation kNormalisation{{5, 1, -1}, {300, 100, 90}};

Devices two_devices() {
  Devices::List list;
  for (const char* name : {"cuda:0", "cuda:1"}) list.push_back(make_torch_device(std::make_shared<HostBackend>(name)));
  return Devices(std::move(list));
}

std::string message_of(const std::function<void()>& call, Fault fault) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), fault) << error.what();
    EXPECT_FALSE(error.hint().empty());
    return error.what();
  }
  ADD_FAILURE() << "it went well";
  return {};
}

TEST(Devices, TakeTurnsUnlessOneIsAskedFor) {
  const Devices devices = two_devices();
  EXPECT_EQ(devices.pick(parse_device("auto")), 0);
  EXPECT_EQ(devices.pick(parse_device("cuda")), 1);
  EXPECT_EQ(devices.pick(parse_device("auto")), 0);
  EXPECT_EQ(devices.pick(parse_device("cuda:1")), 1);
  EXPECT_EQ(devices.pick(parse_device("cpu")), kCpu);
  const std::string message = message_of([&] { devices.pick(parse_device("cuda:2")); }, Fault::no_device);
  EXPECT_NE(message.find("cuda:0 to cuda:1"), std::string::npos) << message;
}

TEST(Devices, NoneIsTheCpuForThoseWhoTakeAny) {
  const Devices devices({}, "no CUDA device was found");
  EXPECT_EQ(devices.pick(parse_device("auto")), kCpu);
  EXPECT_EQ(devices.pick(parse_device("cpu")), kCpu);
  const std::string message = message_of([&] { devices.pick(parse_device("cuda")); }, Fault::no_device);
  EXPECT_NE(message.find("no CUDA device was found"), std::string::npos) << message;
}

TEST(DeviceChoice, HasNames) {
  for (const char* name : {"auto", "cpu", "cuda", "cuda:0", "cuda:254"}) EXPECT_EQ(to_string(parse_device(name)), name);
  for (const char* name : {"", "gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:255", "cuda:1x", "cpu:0"}) {
    message_of([&] { parse_device(name); }, Fault::invalid_argument);
  }
}

// ---- the plug-in

TEST(DevicePlugin, BringsDevices) {
  const Devices devices = open_devices(IMAGECALC_HOST_DEVICE);
  ASSERT_EQ(devices.count(), 2u) << devices.note();
  EXPECT_EQ(devices[1].name(), "cuda:1");
  EXPECT_EQ(devices.note(), "");
}

TEST(DevicePlugin, WithoutItTheNoteSaysWhy) {
  auto note_of = [](const std::string& path) {
    const Devices devices = open_devices(path);
    EXPECT_EQ(devices.count(), 0u);
    return devices.note();
  };
  auto expect_in = [](const std::string& part, const std::string& note) { EXPECT_NE(note.find(part), note.npos) << note; };
  expect_in("built without CUDA", note_of("/nowhere/imagecalc-cuda.so"));
  expect_in("is not a plug-in", note_of(IMAGECALC_TEST_MODELS "/script.pt"));
  expect_in("is not a plug-in", note_of("/lib/x86_64-linux-gnu/libz.so.1"));
  expect_in("is of another build: imagecalc device plug-in 0", note_of(IMAGECALC_STALE_DEVICE));
  const std::string unloadable = testing::TempDir() + "unloadable.so";
  std::ofstream(unloadable) << kPluginBuild << '\0';
  expect_in("could not be loaded", note_of(unloadable));
  ::setenv("IMAGECALC_TEST_NO_DRIVER", "1", 1);
  expect_in("there is no driver", note_of(IMAGECALC_HOST_DEVICE));
  ::unsetenv("IMAGECALC_TEST_NO_DRIVER");
}

// ---- plans

std::vector<Blob> values_of(const Format& format, unsigned count) {
  std::vector<Blob> values;
  for (unsigned seed = 0; seed < count; ++seed) {
    values.push_back(write_value(encode(test::drawn_picture(96, 96, seed % 3 == 2 ? 1 : 3, seed), format, {}), 3));
  }
  return values;
}

std::vector<gpu::Sent> read_values(const std::vector<Blob>& values, bool as_payloads) {
  std::vector<gpu::Sent> sent;
  for (const Blob& value : values) {
    as_payloads ? sent.emplace_back(read_payload(value, Limits{})) : sent.emplace_back(read_image(value, Limits{}));
  }
  return sent;
}

std::shared_ptr<FreezableModule> module_of(const Blob& bytes) {
  return std::make_shared<FreezableModule>(load_module(bytes), bytes.size());
}

// Values of one format, and the tensors that the codec makes of them.
struct Fixture {
  explicit Fixture(const char* text, unsigned count = 6) : format(parse_format(text)), values(values_of(format, count)) {
    const Geometry geometry = geometry_of_first();
    size = {geometry.tensor_height, geometry.tensor_width};
    floats = std::size_t{3} * size.height * size.width;
    tensors.resize(count * floats);
    read_batch(std::vector<Bytes>(values.begin(), values.end()), Limits{}, kNormalisation, tensors.data());
  }
  Geometry geometry_of_first() const { return read_value_header(values.front(), Limits{}).geometry(); }

  Format format;
  std::vector<Blob> values;
  TensorSize size{};
  std::size_t floats = 0;
  std::vector<float> tensors;
};

void expect_cpus_scores(Device& device, const Blob& model, const char* format, float tolerance) {
  const Fixture given(format);
  const std::size_t count = given.values.size();
  const auto module = module_of(model);
  const Scores exact = plain_recipe(module).make(given.size, count)->run({given.tensors.data(), count}, 1);
  for (const Recipe& recipe : device.recipes(module)) {
    const auto plan = recipe.make(given.size, count);
    // How far bfloat16 is off depends on the network, and a runner looks; but however the images come, it is the same.
    const Scores wanted = recipe.bf16 ? plan->run({given.tensors.data(), count}, 1) : exact;
    for (int call = 0; call < 2; ++call) {
      EXPECT_EQ(score_difference(wanted, plan->run({given.tensors.data(), count}, 1), tolerance), "") << recipe.name;
      for (const bool as_payloads : {false, true}) {
        const auto values = read_values(given.values, as_payloads);
        const auto all = device.send(values, kNormalisation);
        SentImages* one[] = {all.get()};
        EXPECT_EQ(score_difference(wanted, plan->run({one, count}, 1), tolerance), "") << recipe.name << as_payloads;
        EXPECT_TRUE(all->arrival().refused.empty());

        // The same from three senders.
        std::vector<std::shared_ptr<SentImages>> parts;
        for (const auto& [first, images] : {std::pair{0u, 1u}, {1u, 3u}, {4u, 2u}}) {
          parts.push_back(device.send(std::span(values).subspan(first, images), kNormalisation));
        }
        SentImages* together[] = {parts[0].get(), parts[1].get(), parts[2].get()};
        EXPECT_EQ(score_difference(wanted, plan->run({together, count}, 1), tolerance), "") << recipe.name << as_payloads;
      }
    }
  }
}

void expect_cpus_scores(Device& device, float tolerance) {
  expect_cpus_scores(device, exported_model("script"), "1x1/b16/k6/q20@96", tolerance);
  expect_cpus_scores(device, exported_model("trace"), "4x4/b8/k3/q20@96", tolerance);
  expect_cpus_scores(device, exported_model("frozen"), "2x2r/b32/k8/q50@96", tolerance);
  for (const char* net : {"mobilenet_v3_small-script", "resnet18-trace", "shufflenet_v2_x1_0-trace"}) {
    expect_cpus_scores(device, exported_model(net), "1x1/b32/k8/q20@96", tolerance);
  }
}

TEST(DevicePlans, GiveTheCpusScores) {
  expect_cpus_scores(*make_torch_device(std::make_shared<HostBackend>("cuda:0")), kScoreTolerance);
}

// Before any test lets LibTorch look for CUDA.
const Devices cuda_devices = open_devices(IMAGECALC_CUDA_DEVICE);

// The same on real GPUs.
TEST(CudaPlans, GiveTheCpusScores) {
  if (cuda_devices.count() == 0) GTEST_SKIP() << cuda_devices.note();
  for (int i = 0; i < static_cast<int>(cuda_devices.count()); ++i) expect_cpus_scores(cuda_devices[i], kDeviceTolerance);
}

// A model as it is where the device's memory holds only so many images.
Blob hungry_model(int most) {
  return test::scripted_model("def forward(self, x):\n    assert x.size(0) <= " + std::to_string(most) +
                              ", \"CUDA out of memory. Tried to allocate 2 GiB\"\n"
                              "    return torch.matmul(x.mean([2, 3]), self.weight)\n");
}

TEST(DevicePlans, HalveBatchesThatTheDeviceHasNoRoomFor) {
  const Fixture given("1x1/b16/k6/q20@96", 7);
  auto device = make_torch_device(std::make_shared<HostBackend>("cuda:0"));
  const Scores wanted = plain_recipe(module_of(hungry_model(7))).make(given.size, 7)->run({given.tensors.data(), 7}, 1);
  for (const Recipe& recipe : device->recipes(module_of(hungry_model(2)))) {
    const auto tried = recipe.make(given.size, 7);
    auto run = [&] { return tried->run({given.tensors.data(), 7}, 1); };
    if (recipe.name == "plain") {
      EXPECT_EQ(run().values, wanted.values);
    } else if (recipe.name.find("recorded") == std::string::npos) {
      EXPECT_EQ(score_difference(wanted, run()), "") << recipe.name;
    } else {
      EXPECT_THROW(run(), Error) << recipe.name << ": others will do";
    }
  }

  const auto plan = device->recipes(module_of(hungry_model(0))).front().make(given.size, 7);
  const std::string message = message_of([&] { plan->run({given.tensors.data(), 7}, 1); }, Fault::out_of_memory);
  EXPECT_NE(message.find("the memory of cuda:0 is too small"), message.npos) << message;
}

// Recordings are of so many images: more and fewer go through them in pieces.
void expect_scores_of_any_number(Device& device, std::size_t batch, float tolerance) {
  const Fixture given("1x1/b16/k6/q20@96", 26);
  const auto module = module_of(exported_model("script"));
  const Scores all = plain_recipe(module).make(given.size, 26)->run({given.tensors.data(), 26}, 1);
  for (const Recipe& recipe : device.recipes(module)) {
    const auto plan = recipe.make(given.size, batch);
    for (const std::size_t count : {26u, 1u, 6u, 5u, 12u, 7u, 18u}) {
      const Scores scores = plan->run({given.tensors.data(), count}, 1);
      ASSERT_EQ(scores.values.size(), count * all.outputs) << recipe.name << count;
      const float allowed = recipe.bf16 ? 0.05f : tolerance;
      for (std::size_t i = 0; i < scores.values.size(); ++i) {
        EXPECT_NEAR(scores.values[i], all.values[i], allowed * std::max(1.0f, std::abs(all.values[i]))) << recipe.name << count;
      }
    }
  }
}

// Counts what is replayed.
class CountingBackend : public HostBackend {
 public:
  using HostBackend::HostBackend;
  std::unique_ptr<Recording> record(const std::function<void()>& work) override {
    return HostBackend::record([this, work] {
      ++replays;
      work();
    });
  }
  int replays = 0;
};

TEST(DevicePlans, TakeAnyNumberOfImages) {
  for (const auto& [batch, pieces] : {std::pair{6u, 5 + 1 + 1 + 1 + 2 + 2 + 3}, {12u, 2 + 0 + 1 + 0 + 1 + 1 + 2}}) {
    const auto backend = std::make_shared<CountingBackend>("cuda:0");
    expect_scores_of_any_number(*make_torch_device(backend), batch, 1e-4f);
    EXPECT_EQ(backend->replays, 3 * (pieces + 1)) << "by three plans, and once as they are recorded";
  }
}

TEST(CudaPlans, TakeAnyNumberOfImages) {
  if (cuda_devices.count() == 0) GTEST_SKIP() << cuda_devices.note();
  for (const std::size_t batch : {6u, 12u}) expect_scores_of_any_number(cuda_devices[0], batch, kDeviceTolerance);
}

// A device where nothing can be sent as long as recordings take its memory.
class CrampedBackend : public HostBackend {
 public:
  using HostBackend::HostBackend;
  at::Tensor staging(std::int64_t bytes) override {
    TORCH_CHECK(recordings() == 0, "CUDA out of memory. Tried to allocate 2 GiB");
    return HostBackend::staging(bytes);
  }
};

TEST(DevicePlans, GiveUpRecordingsForOthers) {
  const Fixture given("1x1/b16/k6/q20@96", 6);
  const auto module = module_of(exported_model("script"));
  const auto backend = std::make_shared<CrampedBackend>("cuda:0");
  auto device = make_torch_device(backend);
  const Scores wanted = plain_recipe(module).make(given.size, 6)->run({given.tensors.data(), 6}, 1);
  std::vector<std::shared_ptr<Plan>> recorded;
  std::size_t before = 0, now = 0;
  for (const Recipe& recipe : device->recipes(module)) {
    if (recipe.name.find("recorded") == std::string::npos || recipe.bf16) continue;
    recorded.push_back(recipe.make(given.size, 6));
    before += recorded.back()->memory();
    recorded.back()->run({given.tensors.data(), 6}, 1);
    now += recorded.back()->memory();
  }
  ASSERT_EQ(recorded.size(), 2u);
  EXPECT_EQ(backend->recordings(), 2);
  EXPECT_GT(now, before);  // it counts
  recorded.pop_back();
  EXPECT_EQ(backend->recordings(), 1);
  const auto sent = device->send(read_values(given.values, false), kNormalisation);
  EXPECT_EQ(backend->recordings(), 0);
  SentImages* images[] = {sent.get()};
  for (const auto& plan : recorded) EXPECT_EQ(score_difference(wanted, plan->run({images, 6}, 1)), "");
  EXPECT_EQ(backend->recordings(), 0);  // for a while
}

// A device that goes on after an error has not failed.
class SturdyBackend : public HostBackend {
 public:
  using HostBackend::HostBackend;
  bool answers() override { return true; }
};

TEST(DevicePlans, TellAFailedCallFromAFailedDevice) {
  const Fixture given("1x1/b16/k6/q20@96", 1);
  const Blob model = test::scripted_model("def forward(self, x):\n    assert x.size(0) > 1, \"CUDA error: operation not permitted\"\n"
                                          "    return torch.matmul(x.mean([2, 3]), self.weight)\n");
  for (const auto& [backend, fault] : {std::pair<std::shared_ptr<HostBackend>, Fault>(
                                           std::make_shared<SturdyBackend>("cuda:0"), Fault::bad_model),
                                       {std::make_shared<HostBackend>("cuda:0"), Fault::no_device}}) {
    const auto plan = make_torch_device(backend)->recipes(module_of(model)).front().make(given.size, 1);
    const std::string message = message_of([&] { plan->run({given.tensors.data(), 1}, 1); }, fault);
    EXPECT_NE(message.find("operation not permitted"), message.npos) << message;
    EXPECT_EQ(backend->has_failed, fault == Fault::no_device);
  }
}

TEST(DevicePlans, TellWhatTheDeviceCouldNotDecode) {
  Fixture given("1x1/b16/k6/q20@96", 3);
  Blob& bad = given.values[1];
  for (std::size_t i = kValueHeaderSize; i < bad.size(); ++i) bad[i] = static_cast<std::uint8_t>(37 * i);
  test::seal(bad);
  auto device = make_torch_device(std::make_shared<HostBackend>("cuda:0"));
  EXPECT_EQ(device->send(read_values(given.values, true), kNormalisation)->arrival().refused, std::vector<std::uint32_t>{1});
}

// ---- the whole runner

Conversation connect_with(ServingRunner& runner, const Blob& model) {
  Conversation conversation = runner.connect();
  EXPECT_TRUE(std::holds_alternative<Done>(conversation.ask(LoadModel{hash_of(model), model})));
  return conversation;
}

InferRequest request_for(const Blob& model, const Fixture& given, const char* device) {
  InferRequest request;
  request.model = hash_of(model);
  request.input.format = given.format;
  request.normalisation = kNormalisation;
  request.max_pixels = 100'000'000;
  request.device = parse_device(device);
  for (const Blob& value : given.values) request.items.push_back({InferItem::Kind::value, value});
  return request;
}

InferReply scores_of(Conversation& conversation, const InferRequest& request) {
  Message reply = conversation.ask(request);
  if (auto* failure = std::get_if<Failure>(&reply)) throw Error(failure->fault, failure->message, failure->hint);
  return std::get<InferReply>(reply);
}

void expect_near(const std::vector<float>& scores, const std::vector<float>& wanted) {
  ASSERT_EQ(scores.size(), wanted.size());
  for (std::size_t i = 0; i < scores.size(); ++i) EXPECT_NEAR(scores[i], wanted[i], 1e-3f) << i;
}

class ServingDevices : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    runner_ = new ServingRunner(2, {"--device-plugin", IMAGECALC_HOST_DEVICE});
  }
  static void TearDownTestSuite() {
    delete runner_;
    runner_ = nullptr;
  }

  static ServingRunner* runner_;
  const Blob model_ = exported_model("script");
  const Fixture given_{"1x1/b16/k6/q20@96"};
};
ServingRunner* ServingDevices::runner_ = nullptr;

TEST_F(ServingDevices, AreUsedAndTimed) {
  Conversation conversation = connect_with(*runner_, model_);
  const InferReply on_cpu = scores_of(conversation, request_for(model_, given_, "cpu"));
  EXPECT_EQ(on_cpu.device, "");
  EXPECT_EQ(on_cpu.device_times.model_us, 0);
  for (const char* device : {"auto", "cuda", "cuda:1"}) {
    for (const bool decode : {false, true}) {
      InferRequest request = request_for(model_, given_, device);
      request.device_decode = decode;
      const InferReply reply = scores_of(conversation, request);
      EXPECT_TRUE(reply.device.starts_with("cuda:")) << reply.device;
      EXPECT_GT(reply.device_times.transfer_us, 0);
      EXPECT_EQ(reply.device_times.decode_us > 0, decode);
      EXPECT_GT(reply.device_times.model_us, 0);
      expect_near(reply.scores, on_cpu.scores);
    }
  }
  const auto statistics = std::get<StatisticsReply>(conversation.ask(ReadStatistics{}));
  EXPECT_EQ(statistics.devices, (std::vector<std::string>{"cuda:0 (the CPU)", "cuda:1 (the CPU)"}));
  EXPECT_EQ(statistics.device_note, "");
  EXPECT_GT(statistics.served.device_model_us, 0);
  const auto& plans = statistics.models.at(0).plans;
  EXPECT_TRUE(std::any_of(plans.begin(), plans.end(), [](const auto& plan) { return plan.device == "cuda:1"; }));
}

// Tensors that the CPU has made cross, too: of pictures, and in requests that have one.
TEST_F(ServingDevices, TakePictures) {
  Conversation conversation = connect_with(*runner_, model_);
  InferRequest request = request_for(model_, given_, "cpu");
  request.items.push_back({InferItem::Kind::picture, write_jpeg(test::drawn_picture(120, 100, 3), 90)});
  const InferReply on_cpu = scores_of(conversation, request);
  request.device = parse_device("cuda:0");
  const InferReply reply = scores_of(conversation, request);
  EXPECT_EQ(reply.device, "cuda:0");
  EXPECT_GT(reply.device_times.transfer_us, 0);
  expect_near(reply.scores, on_cpu.scores);
}

TEST_F(ServingDevices, FailWhatTheyCannotDecodeAlone) {
  Conversation conversation = connect_with(*runner_, model_);
  InferRequest request = request_for(model_, given_, "cuda:0");
  const InferReply whole = scores_of(conversation, request);
  request.device_decode = true;
  Blob& bad = request.items[2].bytes;
  for (std::size_t i = kValueHeaderSize; i < bad.size(); ++i) bad[i] = static_cast<std::uint8_t>(37 * i);
  test::seal(bad);
  request.items[4].bytes.resize(10);
  const InferReply reply = scores_of(conversation, request);
  ASSERT_EQ(reply.failures.size(), 2u);
  for (const std::size_t i : {0u, 1u}) {
    EXPECT_EQ(reply.failures[i].item, i == 0 ? 2 : 4);
    EXPECT_EQ(reply.failures[i].fault, Fault::corrupt_value);
  }
  std::vector<float> wanted = whole.scores;
  for (const std::size_t item : {2u, 4u}) std::fill_n(wanted.begin() + item * whole.outputs, whole.outputs, 0.0f);
  expect_near(reply.scores, wanted);
}

// More than the device's decoder has room for; the codec has.
TEST_F(ServingDevices, LeaveManyLargeCoefficientsToTheCodec) {
  Conversation conversation = connect_with(*runner_, model_);
  Fixture given("1x1/b8/k4/q20@64", 3);
  given.values[1] = write_value({given.format, 3, 64, 64, 64, 64, std::vector<std::int32_t>(3 * 10 * 64, 1000)}, 3);
  auto device = make_torch_device(std::make_shared<HostBackend>("cuda:0"));
  ASSERT_EQ(device->send(read_values(given.values, true), kNormalisation)->arrival().refused, std::vector<std::uint32_t>{1});
  const InferReply on_cpu = scores_of(conversation, request_for(model_, given, "cpu"));
  InferRequest request = request_for(model_, given, "cuda:0");
  request.device_decode = true;
  const InferReply reply = scores_of(conversation, request);
  EXPECT_TRUE(reply.failures.empty());
  expect_near(reply.scores, on_cpu.scores);
}

TEST_F(ServingDevices, AreRefusedWhereTheyCannotServe) {
  Conversation conversation = connect_with(*runner_, model_);
  auto message = [&](const InferRequest& request) {
    return message_of([&] { scores_of(conversation, request); }, Fault::no_device);
  };
  EXPECT_NE(message(request_for(model_, given_, "cuda:7")).find("no device \"cuda:7\""), std::string::npos);
  InferRequest request = request_for(model_, given_, "cuda");
  request.engine = EngineChoice::openvino;
  EXPECT_NE(message(request).find("OpenVINO"), std::string::npos);
  request.device = parse_device("auto");
  EXPECT_EQ(scores_of(conversation, request).device, "");

  if (!kHasOpenVino) return;
  const Blob onnx = test::exported_onnx();
  Conversation other = connect_with(*runner_, onnx);
  EXPECT_EQ(scores_of(other, request_for(onnx, given_, "auto")).device, "");
  const std::string refusal = message_of([&] { scores_of(other, request_for(onnx, given_, "cuda")); }, Fault::no_device);
  EXPECT_NE(refusal.find("ONNX models run on the CPU alone"), refusal.npos) << refusal;
}

// A model may dislike one image: the others are none the worse for it.
TEST_F(ServingDevices, FailWhatTheModelRefusesAlone) {
  const Blob picky = test::scripted_model("def forward(self, x):\n    assert float(x.max()) < 1000, \"too bright\"\n"
                                          "    return torch.matmul(x.mean([2, 3]), self.weight)\n");
  Conversation conversation = connect_with(*runner_, picky);
  InferRequest request = request_for(picky, given_, "cuda:0");
  const InferReply whole = scores_of(conversation, request);
  EXPECT_TRUE(whole.failures.empty());
  const std::vector<std::int32_t> bright(read_value(given_.values[3], Limits{}).values.size(), 30000);
  Coefficients changed = read_value(given_.values[3], Limits{});
  changed.values = bright;
  request.items[3].bytes = write_value(changed, 3);
  const InferReply reply = scores_of(conversation, request);
  ASSERT_EQ(reply.failures.size(), 1u);
  EXPECT_EQ(reply.failures[0].item, 3);
  EXPECT_NE(reply.failures[0].message.find("too bright"), std::string::npos) << reply.failures[0].message;
  std::vector<float> wanted = whole.scores;
  std::fill_n(wanted.begin() + 3 * whole.outputs, whole.outputs, 0.0f);
  expect_near(reply.scores, wanted);
}

TEST_F(ServingDevices, ServeSingleImagesOfManySessionsTogether) {
  Conversation first = connect_with(*runner_, model_);
  const InferReply wanted = scores_of(first, request_for(model_, given_, "cpu"));
  std::vector<std::jthread> sessions;
  std::atomic<int> wrong = 0;
  for (unsigned session = 0; session < 8; ++session) {
    sessions.emplace_back([&, session] {
      Conversation conversation = runner_->connect();
      for (unsigned i = 0; i < 40; ++i) {
        const std::size_t item = (session + i) % given_.values.size();
        InferRequest request = request_for(model_, given_, "cuda:0");
        request.device_decode = i % 2 == 0;
        request.items = {request.items[item]};
        const InferReply reply = scores_of(conversation, request);
        for (std::uint32_t k = 0; k < wanted.outputs; ++k) {
          wrong += std::abs(reply.scores.at(k) - wanted.scores[item * wanted.outputs + k]) > 1e-3f;
        }
      }
    });
  }
  sessions.clear();
  EXPECT_EQ(wrong, 0);
}

// With auto the CPU takes over; who asks for the device gets an ERROR, and another runner.
TEST(ServingAFailedDevice, EndsWhereItIsAskedFor) {
  ServingRunner runner(1, {"--device-plugin", IMAGECALC_HOST_DEVICE});
  const Blob breaking = test::scripted_model("def forward(self, x):\n    assert x.size(0) > 1, \"CUDA error: device-side assert\"\n"
                                             "    return torch.matmul(x.mean([2, 3]), self.weight)\n");
  const Blob model = exported_model("script");
  const Fixture given("1x1/b16/k6/q20@96", 2);
  Conversation conversation = connect_with(runner, breaking);
  ASSERT_TRUE(std::holds_alternative<Done>(conversation.ask(LoadModel{hash_of(model), model})));
  EXPECT_EQ(scores_of(conversation, request_for(breaking, given, "auto")).device, "");
  EXPECT_EQ(scores_of(conversation, request_for(model, given, "auto")).device, "cuda:1");
  const auto devices = std::get<StatisticsReply>(conversation.ask(ReadStatistics{})).devices;
  EXPECT_EQ(devices.at(0), "cuda:0 (the CPU, has failed)");
  const std::string message =
      message_of([&] { scores_of(conversation, request_for(breaking, given, "cuda:0")); }, Fault::no_device);
  EXPECT_NE(message.find("cuda:0 has failed"), message.npos) << message;
  const auto status = runner.child().wait(std::chrono::seconds(10));
  ASSERT_TRUE(status.has_value()) << "it goes on";
  EXPECT_EQ(*status, 0);
}

TEST(ServingWithoutDevices, SaysWhy) {
  ServingRunner runner(1, {"--device-plugin", IMAGECALC_STALE_DEVICE});
  const Blob model = exported_model("script");
  const Fixture given("1x1/b16/k6/q20@96", 2);
  Conversation conversation = connect_with(runner, model);
  EXPECT_EQ(scores_of(conversation, request_for(model, given, "auto")).device, "");
  const std::string message =
      message_of([&] { scores_of(conversation, request_for(model, given, "cuda")); }, Fault::no_device);
  EXPECT_NE(message.find("is of another build"), message.npos) << message;
  EXPECT_NE(std::get<StatisticsReply>(conversation.ask(ReadStatistics{})).device_note.find("another build"), std::string::npos);
}

}  // namespace
}  // namespace imagecalc
