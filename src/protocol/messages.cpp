#include "protocol/messages.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <concepts>
#include <iterator>
#include <utility>

namespace imagecalc {

static_assert(std::endian::native == std::endian::little, "fields are copied as they lie in memory");

namespace {

[[noreturn]] void malformed(const std::string& what) {
  throw Error(Fault::protocol, "malformed message: " + what,
              "The extension and imagecalc-runner may be of different versions; restart the server after an upgrade.");
}

}  // namespace

namespace {

constexpr std::string_view kEngineNames[] = {"auto", "libtorch", "openvino"};
constexpr std::string_view kDeviceNames[] = {"auto", "cpu", "cuda"};
constexpr std::string_view kAugmentationNames[] = {"crop", "flip", "none"};

// The value of that name, by its place among them.
template <typename Enum, std::size_t kCount>
std::optional<Enum> find_by_name(const std::string_view (&names)[kCount], std::string_view name) {
  const auto* found = std::find(std::begin(names), std::end(names), name);
  if (found == std::end(names)) return std::nullopt;
  return static_cast<Enum>(found - std::begin(names));
}

}  // namespace

std::string_view to_string(EngineChoice choice) { return kEngineNames[static_cast<std::size_t>(choice)]; }

EngineChoice parse_engine(std::string_view name) {
  if (const auto choice = find_by_name<EngineChoice>(kEngineNames, name)) return *choice;
  throw Error(Fault::invalid_argument, "unknown engine \"" + std::string(name) + "\"", "Use auto, libtorch or openvino.");
}

std::string to_string(DeviceChoice choice) {
  const std::string kind(kDeviceNames[static_cast<std::size_t>(choice.kind)]);
  return choice.number == DeviceChoice::kAny ? kind : kind + ":" + std::to_string(choice.number);
}

DeviceChoice parse_device(std::string_view name) {
  if (const auto kind = find_by_name<DeviceChoice::Kind>(kDeviceNames, name)) return {.kind = *kind};
  if (constexpr std::string_view kNumbered = "cuda:"; name.starts_with(kNumbered)) {
    const std::string_view digits = name.substr(kNumbered.size());
    DeviceChoice choice{.kind = DeviceChoice::Kind::cuda};
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), choice.number);
    if (error == std::errc() && end == digits.data() + digits.size() && choice.number != DeviceChoice::kAny) return choice;
  }
  throw Error(Fault::invalid_argument, "unknown device \"" + std::string(name) + "\"", "Use auto, cpu, cuda or cuda:N.");
}

std::string_view to_string(Augmentation augmentation) { return kAugmentationNames[static_cast<std::size_t>(augmentation)]; }

Augmentation parse_augmentation(std::string_view name) {
  if (const auto augmentation = find_by_name<Augmentation>(kAugmentationNames, name)) return *augmentation;
  throw Error(Fault::invalid_argument, "augmentation \"" + std::string(name) + "\" is unknown", "Choose crop, flip or none.");
}

void Writer::put_count(std::size_t count) {
  if (count > kMaxFrameSize) throw_too_large();
  put(static_cast<std::uint32_t>(count));
}

void Writer::append(const void* data, std::size_t size) {
  if (size > kMaxFrameSize - bytes_.size()) throw_too_large();
  if (size == 0) return;
  bytes_.resize(bytes_.size() + size);
  std::memcpy(bytes_.data() + bytes_.size() - size, data, size);
}

void Writer::throw_too_large() {
  throw Error(Fault::limit_exceeded, "a message to or from imagecalc-runner would be larger than 512 MB",
              "Use a smaller model, or fewer pictures at a time.");
}

std::size_t Reader::get_count(std::size_t item_size) {
  std::size_t count = get<std::uint32_t>();
  if (count > rest_.size() / item_size) malformed("a list is longer than the message");
  return count;
}

void Reader::expect_end() const {
  if (!rest_.empty()) malformed(std::to_string(rest_.size()) + " bytes are left over");
}

std::span<const std::uint8_t> Reader::next(std::size_t size) {
  if (size > rest_.size()) malformed("it ends early");
  auto result = rest_.first(size);
  rest_ = rest_.subspan(size);
  return result;
}

namespace {

// ---- what the messages hold: one list of fields each, for both directions

template <typename M, typename T>
concept Is = std::same_as<std::remove_const_t<M>, T>;

void fields(auto& archive, Is<Normalisation> auto& m) { archive(m.mean, m.deviation); }
void fields(auto& archive, Is<Hello> auto& m) { archive(m.version); }
void fields(auto&, Is<Done> auto&) {}
void fields(auto& archive, Is<Failure> auto& m) { archive(m.fault, m.item, m.message, m.hint); }

void fields(auto& archive, Is<DeviceChoice> auto& m) { archive(m.kind, m.number); }
void fields(auto& archive, Is<DeviceTimes> auto& m) { archive(m.transfer_us, m.decode_us, m.model_us); }
void fields(auto& archive, Is<InferItem> auto& m) { archive(m.kind, m.bytes); }
// What comes before a request's items.
void head_fields(auto& archive, Is<InferRequest> auto& m) {
  archive(m.model, m.input, m.normalisation, m.max_pixels, m.engine, m.bf16, m.device, m.device_decode);
}
void fields(auto& archive, Is<InferRequest> auto& m) {
  head_fields(archive, m);
  archive(m.items);
}
void fields(auto& archive, Is<InferReply> auto& m) {
  archive(m.outputs, m.scores, m.decode_us, m.model_us, m.failures, m.engines, m.alone, m.device, m.device_times);
}
void fields(auto&, Is<NeedModel> auto&) {}
void fields(auto& archive, Is<LoadModel> auto& m) { archive(m.model, m.bytes); }
void fields(auto& archive, Is<TensorShape> auto& m) { archive(m.height, m.width); }
void fields(auto& archive, Is<InspectModel> auto& m) { archive(m.bytes, m.shapes, m.try_stem); }
void fields(auto& archive, Is<InspectReply::Shape> auto& m) { archive(m.outputs, m.refusal); }
void fields(auto& archive, Is<InspectReply> auto& m) { archive(m.shapes, m.parameters, m.learns_statistics, m.onnx, m.stem_refusal); }

void fields(auto&, Is<Leaving> auto&) {}
void fields(auto&, Is<ReadStatistics> auto&) {}
void fields(auto& archive, Is<Percentiles> auto& m) { archive(m.p50_us, m.p95_us, m.p99_us); }
void fields(auto& archive, Is<Served> auto& m) {
  archive(m.requests, m.images, m.failures, m.decode_us, m.model_us, m.device_transfer_us, m.device_decode_us, m.device_model_us,
          m.request);
}
void fields(auto& archive, Is<PlanStatistics> auto& m) {
  archive(m.size, m.batch, m.asked, m.bf16, m.device, m.engine, m.plan, m.us, m.chosen, m.settled, m.refusal);
}
void fields(auto& archive, Is<ModelStatistics> auto& m) { archive(m.model, m.memory, m.served, m.plans); }
void fields(auto& archive, Is<StatisticsReply> auto& m) {
  archive(m.pid, m.threads, m.engines, m.devices, m.device_note, m.uptime_us, m.since_reset_us, m.memory, m.connections, m.queue, m.refused,
          m.served, m.models);
}
void fields(auto&, Is<ResetStatistics> auto&) {}

void fields(auto& archive, Is<TrainSetup> auto& m) {
  archive(m.model, m.classes, m.size, m.threads, m.batch_size, m.learning_rate, m.one_cycle, m.balanced, m.augmentation, m.seed,
          m.max_pixels, m.memory, m.spool_folder, m.device);
}
void fields(auto& archive, Is<TrainReady> auto& m) { archive(m.at_once); }
void fields(auto& archive, Is<AddImages::Image> auto& m) { archive(m.file, m.label, m.validation); }
void fields(auto& archive, Is<AddImages> auto& m) { archive(m.images); }
void fields(auto& archive, Is<AddReply::Rejected> auto& m) { archive(m.index, m.message); }
void fields(auto& archive, Is<AddReply> auto& m) { archive(m.training, m.validation, m.rejected); }
void fields(auto& archive, Is<MeasureStorage> auto& m) { archive(m.sample, m.compression_level); }
void fields(auto& archive, Is<StorageReply> auto& m) { archive(m.mean_bytes, m.deviation); }
void fields(auto& archive, Is<Train> auto& m) {
  archive(m.input, m.epochs, m.seed, m.start_from, m.try_bf16, m.least_halfway, m.stem, m.more_follow);
}
void fields(auto& archive, Is<MakeStem> auto& m) { archive(m.kernel); }
void fields(auto& archive, Is<StemReply> auto& m) { archive(m.model); }
void fields(auto& archive, Is<Progress> auto& m) { archive(m.step, m.steps, m.loss); }
void fields(auto& archive, Is<TrainReply> auto& m) {
  archive(m.accuracy, m.top5_accuracy, m.loss, m.seconds, m.epochs, m.halfway_accuracy, m.bf16_accuracy, m.normalisation, m.weights);
}

constexpr Fault largest(Fault) { return Fault::last; }
constexpr EngineChoice largest(EngineChoice) { return EngineChoice::openvino; }
constexpr DeviceChoice::Kind largest(DeviceChoice::Kind) { return DeviceChoice::Kind::cuda; }
constexpr Augmentation largest(Augmentation) { return Augmentation::none; }
constexpr InferItem::Kind largest(InferItem::Kind) { return InferItem::Kind::picture; }

// A model's input is a packed format, which leaves the top bit free; with that bit set it is the edge of an RGB square.
constexpr std::uint32_t kRgbBit = 1u << 31;

std::uint32_t pack_input(const ModelInput& input) {
  return input.rgb ? kRgbBit | static_cast<std::uint32_t>(input.rgb_size) : pack(input.format);
}

ModelInput unpack_input(std::uint32_t packed) {
  ModelInput input;
  if (packed & kRgbBit) {
    input.rgb = true;
    input.rgb_size = static_cast<int>(packed & ~kRgbBit);
    if (input.rgb_size < 1 || input.rgb_size > kMaxSize) malformed("a size is out of range");
    return input;
  }
  try {
    input.format = unpack(packed);
  } catch (const Error& error) {
    malformed(error.what());
  }
  return input;
}

// ---- the two directions

class Encoder {
 public:
  template <typename... T>
  void operator()(const T&... values) {
    (put(values), ...);
  }
  Blob take() { return writer_.take(); }

 private:
  template <typename T>
  void put(const T& value) {
    if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
      writer_.put(value);
    } else {
      fields(*this, value);
    }
  }
  void put(const std::string& text) { writer_.put(std::string_view(text)); }
  void put(const ModelInput& input) { writer_.put(pack_input(input)); }
  template <typename T, std::size_t n>
  void put(const std::array<T, n>& values) {
    for (const T& value : values) put(value);
  }
  template <typename T>
  void put(const std::vector<T>& list) {
    if constexpr (std::is_arithmetic_v<T>) {
      writer_.put_list(list);
    } else {
      writer_.put_count(list.size());
      for (const T& item : list) put(item);
    }
  }
  template <typename T>
  void put(const std::optional<T>& value) {
    put(value.has_value());
    if (value) put(*value);
  }

  Writer writer_;
};

// What an item of a list takes at least: an empty one's size, since strings, blobs, lists and optionals start out empty.
template <typename T>
std::size_t smallest_size() {
  static const std::size_t size = [] {
    Encoder encoder;
    encoder(T{});
    return encoder.take().size();
  }();
  return size;
}

class Decoder {
 public:
  explicit Decoder(std::span<const std::uint8_t> body) : reader_(body) {}

  template <typename... T>
  void operator()(T&... values) {
    (get(values), ...);
  }
  void expect_end() const { reader_.expect_end(); }

 private:
  template <typename T>
  void get(T& value) {
    if constexpr (std::is_enum_v<T>) {
      auto number = reader_.get<std::underlying_type_t<T>>();
      if (number > static_cast<decltype(number)>(largest(T{}))) malformed("an unknown code");
      value = static_cast<T>(number);
    } else if constexpr (std::is_arithmetic_v<T>) {
      value = reader_.get<T>();
    } else {
      fields(*this, value);
    }
  }
  void get(bool& value) {
    auto byte = reader_.get<std::uint8_t>();
    if (byte > 1) malformed("a flag is neither 0 nor 1");
    value = byte == 1;
  }
  void get(std::string& text) { text = reader_.get_string(); }
  void get(ModelInput& input) { input = unpack_input(reader_.get<std::uint32_t>()); }
  template <typename T, std::size_t n>
  void get(std::array<T, n>& values) {
    for (T& value : values) get(value);
  }
  template <typename T>
  void get(std::vector<T>& list) {
    if constexpr (std::is_arithmetic_v<T>) {
      list = reader_.get_list<T>();
    } else {
      list.resize(reader_.get_count(smallest_size<T>()));
      for (T& item : list) get(item);
    }
  }
  template <typename T>
  void get(std::optional<T>& value) {
    bool present = false;
    get(present);
    if (present) get(value.emplace());
  }

  Reader reader_;
};

// An empty message of the kind at this place of the variant.
template <std::size_t... kind>
Message empty_message(std::size_t wanted, std::index_sequence<kind...>) {
  using Make = Message (*)();
  static constexpr Make kMake[] = {[]() -> Message { return std::variant_alternative_t<kind, Message>{}; }...};
  return kMake[wanted]();
}

constexpr std::size_t kKinds = std::variant_size_v<Message>;

}  // namespace

Blob encode_frame(const Message& message) {
  Encoder encoder;
  encoder(std::uint32_t{0}, static_cast<std::uint8_t>(message.index()));
  std::visit([&](const auto& m) { encoder(m); }, message);
  Blob frame = encoder.take();
  auto length = static_cast<std::uint32_t>(frame.size() - sizeof(std::uint32_t));
  std::memcpy(frame.data(), &length, sizeof length);
  return frame;
}

FrameHeader decode_frame_header(std::span<const std::uint8_t, kFrameHeaderSize> bytes) {
  Reader reader(bytes);
  auto length = reader.get<std::uint32_t>();
  auto kind = reader.get<std::uint8_t>();
  if (length == 0 || length > kMaxFrameSize - sizeof length) malformed("a length of " + std::to_string(length));
  if (kind >= kKinds) malformed("an unknown kind " + std::to_string(kind));
  return {.body_size = length - 1, .kind = kind};
}

std::size_t outline_size() {
  static const std::size_t size = [] {
    Encoder encoder;
    encoder(InferRequest{});
    return encoder.take().size();
  }();
  return size;
}

std::optional<InferOutline> outline(const FrameHeader& header, std::span<const std::uint8_t> beginning) {
  if (header.kind != Message(InferRequest{}).index()) return std::nullopt;
  Decoder decoder(beginning);
  InferRequest head;
  head_fields(decoder, head);
  InferOutline outline{.input = head.input};
  decoder(outline.items);
  return outline;
}

Message decode_body(const FrameHeader& header, std::span<const std::uint8_t> body) {
  if (header.kind >= kKinds || body.size() != header.body_size) malformed("header and body do not belong together");
  Message message = empty_message(header.kind, std::make_index_sequence<kKinds>());
  Decoder decoder(body);
  std::visit([&](auto& m) { decoder(m); }, message);
  decoder.expect_end();
  return message;
}

}  // namespace imagecalc
