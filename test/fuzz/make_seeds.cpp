// Draws the seeds that the fuzz targets start from: a few small inputs of each kind, made here and taken from nowhere else.
//
//   make_seeds FOLDER      writes FOLDER/TARGET/NAME
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "codec/value.h"
#include "protocol/messages.h"
#include "seed_pictures.h"

namespace imagecalc::fuzz {
namespace {

class Folder {
 public:
  explicit Folder(std::filesystem::path path) : path_(std::move(path)) { std::filesystem::create_directories(path_); }

  void add(const std::string& name, std::span<const std::uint8_t> bytes) const {
    std::ofstream file(path_ / name, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!file.flush()) throw std::runtime_error("could not write " + (path_ / name).string());
  }
  void add(const std::string& name, std::string_view text) const {
    add(name, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  }

 private:
  std::filesystem::path path_;
};

void add_values(const Folder& folder) {
  const char* const formats[] = {"1x1/b8/k2/q5",      "1x1/b8/k8/q1",         "2x2r/b16/k4/q20",   "2x2c/b8/k3/q50@16",
                                 "4x4/b32/k6/q50@64", "1x1/b256/k16/q50@256", "1x1/b128/k5/q255@8"};
  for (const char* format : formats) {
    std::string name = format;
    std::replace(name.begin(), name.end(), '/', '-');
    for (int channels : {1, 3}) {
      const Coefficients coefficients = encode(drawn(19, 13, channels), parse_format(format), Interrupt{});
      folder.add(name + (channels == 1 ? "-gray" : ""), write_value(coefficients, 3));
    }
  }
  Coefficients large = encode(drawn(19, 13, 3), parse_format("1x1/b8/k4/q1"), Interrupt{});
  for (std::size_t n = 0; n < large.values.size(); n += 3) large.values[n] *= 1 << n % 24;
  folder.add("large-coefficients", write_value(large, 1));
}

void add_formats(const Folder& folder) {
  const char* const texts[] = {"1x1/b32/k6/q50@256", "2x2r/b16/k4/q20", "2x2c/b256/k256/q255@8184", "4x4/b8/k1/q1@8",
                               "rgb@256"};
  for (std::size_t n = 0; n < std::size(texts); ++n) folder.add("text-" + std::to_string(n), texts[n]);
  for (const Format& format : {parse_format("4x4/b256/k256/q255@8184"), parse_format("1x1/b8/k1/q20")}) {
    const std::uint32_t packed = pack(format);
    folder.add("packed-" + std::to_string(packed), {reinterpret_cast<const std::uint8_t*>(&packed), sizeof packed});
  }
}

void add_messages(const Folder& folder) {
  const ModelInput format{.format = parse_format("2x2c/b16/k4/q20@128")}, rgb{.rgb = true, .rgb_size = 256, .format = {}};
  const Blob bytes = {1, 2, 3, 4, 5};
  const std::vector<Message> messages = {
      Hello{},
      Done{},
      Failure{Fault::wrong_format, 17, "the value is of another format", "Cast it."},
      InferRequest{{}, format, {}, 1 << 20, EngineChoice::openvino, true, {DeviceChoice::Kind::cuda, 3}, true,
                   {{InferItem::Kind::value, bytes}, {InferItem::Kind::picture, {}}}},
      InferRequest{{}, rgb, {}, 0, {}, {}, {}, {}, {}},
      InferReply{2, {0.5f, -1.0f, 3.25f, 1e30f}, 12.5f, 99.0f, {{Fault::bad_picture, 1, "damaged", "Replace it."}},
                 {EngineChoice::libtorch}, false, "cuda:0", {1, 2, 3}},
      NeedModel{},
      LoadModel{{}, bytes},
      InspectModel{bytes, {{24, 24}, {82, 1}}, true},
      InspectReply{{{4, ""}, {0, "too small"}}, 123456, false, true, "it has none"},
      TrainSetup{.model = bytes, .classes = 4, .size = 256, .device = {DeviceChoice::Kind::cuda, 1}},
      AddImages{{{bytes, 3, true}, {{}, 0, false}}},
      AddReply{879, 222, {{3, "not a JPEG file"}}},
      MeasureStorage{},
      StorageReply{{1.5f, 2.5f}, {0.25f, 0.5f}},
      Train{format, 20, 7, std::nullopt, true, {}, 0, true},
      Train{rgb, 20, 7, bytes, false, 0.5f, 4, false},
      Progress{3, 20, 0.75f},
      TrainReply{0.91f, 0.99f, 0.3f, 12.0f, 20, 0.8f, 0.9f, {}, bytes},
      ReadStatistics{},
      ResetStatistics{},
      StatisticsReply{.engines = {EngineChoice::libtorch}, .devices = {"cuda:0"}, .models = {{{}, 5, {}, {{.plan = "plain"}}}}},
      Leaving{},
      MakeStem{4},
      StemReply{bytes},
      TrainReady{2}};
  for (std::size_t n = 0; n < messages.size(); ++n) folder.add("message-" + std::to_string(n), encode_frame(messages[n]));
}

void make_seeds(const std::filesystem::path& folder) {
  add_values(Folder(folder / "decode_value"));
  add_formats(Folder(folder / "parse_format"));
  add_messages(Folder(folder / "read_message"));
  for (const Seed& seed : jpeg_seeds()) Folder(folder / "read_jpeg").add(seed.name, seed.bytes);
  for (const Seed& seed : png_seeds()) Folder(folder / "read_png").add(seed.name, seed.bytes);
  for (const Seed& seed : webp_seeds()) Folder(folder / "read_webp").add(seed.name, seed.bytes);
}

}  // namespace
}  // namespace imagecalc::fuzz

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: make_seeds FOLDER\n";
    return 2;
  }
  try {
    imagecalc::fuzz::make_seeds(argv[1]);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
