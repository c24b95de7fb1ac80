// What crosses to a GPU, and what becomes of it there, without Postgres: icimage beside JPEG.
//
//   imagecalc-bench-gpu MODELS PICTURES [--device-plugin FILE] [--batch N] [--seconds S] [--threads N]
//
// MODELS has networks as TorchScript, *.pt, that take tensors of any size; PICTURES has JPEG files. --threads: of the CPU, that
// prepare batches (default all). Prints a table for each network, as Markdown: bytes that cross for an image; microseconds an
// image, by the device's clock, to copy them, to decode them and to run the model; images a second, where the next batch is
// prepared, and what is sent as coefficients copied, while one is in the model; tensors are copied before it, as the runner does.
// Exits with 1 where a device's scores are not the CPU's.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "codec/encode.h"
#include "codec/jpeg.h"
#include "gpu_jpeg.h"
#include "runner/device/device.h"
#include "runner/engine/trial.h"
#include "runner/train/parallel.h"

namespace {

using namespace imagecalc;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kDevice = 0;
constexpr int kRgbSize = 224;
constexpr int kMostCalls = 200;  // no plan takes that many to be found
// The showcase formats of the paper: tensors of 82 x 82, 34 x 34 and 16 x 16.
constexpr const char* kFormats[] = {"1x1/b128/k41/q50@256", "1x1/b128/k17/q50@256", "1x1/b256/k16/q50@256"};

struct Options {
  std::string models, pictures, plugin = default_plugin_path();
  std::size_t batch = 128;
  double seconds = 3;
  unsigned threads = std::thread::hardware_concurrency();
};

Options parse_options(int argc, char** argv) {
  Options options;
  std::vector<std::string> folders;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (!name.starts_with("--")) {
      folders.push_back(name);
      continue;
    }
    if (++i == argc) throw std::invalid_argument(name + " needs a value");
    if (name == "--device-plugin") options.plugin = argv[i];
    else if (name == "--batch") options.batch = std::stoul(argv[i]);
    else if (name == "--seconds") options.seconds = std::stod(argv[i]);
    else if (name == "--threads") options.threads = static_cast<unsigned>(std::stoul(argv[i]));
    else throw std::invalid_argument("unknown argument " + name);
  }
  if (folders.size() != 2 || options.batch == 0 || options.threads == 0) {
    throw std::invalid_argument(
        "usage: imagecalc-bench-gpu MODELS PICTURES [--device-plugin FILE] [--batch N] [--seconds S] [--threads N]");
  }
  options.models = folders[0];
  options.pictures = folders[1];
  return options;
}

Blob read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("could not read " + path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<fs::path> files_of(const std::string& folder, const std::vector<std::string>& extensions) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string extension = entry.path().extension();
    if (std::find(extensions.begin(), extensions.end(), extension) != extensions.end()) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  if (paths.empty()) throw std::runtime_error("there is nothing to read in " + folder);
  return paths;
}

// As many pictures as a batch has, each as often as needed.
std::vector<Blob> read_pictures(const Options& options) {
  const auto paths = files_of(options.pictures, {".jpg", ".jpeg"});
  std::vector<Blob> files;
  for (std::size_t i = 0; i < options.batch; ++i) files.push_back(read_file(paths[i % paths.size()]));
  return files;
}

// A batch that is ready for the model, and what it took to send it.
struct Ready {
  std::vector<float> tensors;
  std::shared_ptr<SentImages> sent;
};

// What goes into the model, one way or another.
struct Input {
  std::string name;
  TensorSize size;
  double bytes;  // that cross for an image
  std::function<Ready()> prepare;
};

struct Rates {
  double transfer_us = 0, decode_us = 0, model_us = 0, images_per_second = 0;
};

Scores run(Model& model, const Input& input, const Ready& batch, std::size_t images) {
  const Wish wish(EngineChoice::automatic, false, kDevice);
  if (!batch.sent) return model.run({batch.tensors.data(), images}, input.size, 1, wish);
  SentImages* parts[] = {batch.sent.get()};
  return model.run({parts, images}, input.size, 1, wish);
}

bool is_settled(const Model& model, TensorSize size) {
  for (const ChoiceReport& choice : model.describe().choices) {
    if (choice.size == size && !choice.device.empty() && !choice.settled) return false;
  }
  return true;
}

Rates measure(Model& model, const Input& input, const Options& options) {
  run(model, input, input.prepare(), options.batch);
  for (int calls = 0; calls < kMostCalls && !is_settled(model, input.size); ++calls) {
    run(model, input, input.prepare(), options.batch);
  }
  Rates rates;
  std::size_t batches = 0;
  double elapsed = 0;
  const auto begin = Clock::now();
  auto next = std::async(std::launch::async, input.prepare);
  do {
    const Ready batch = next.get();
    next = std::async(std::launch::async, input.prepare);
    const Scores scores = run(model, input, batch, options.batch);
    rates.transfer_us += scores.device.transfer_us;
    rates.model_us += scores.device.model_us;
    if (batch.sent) {
      const auto arrival = batch.sent->arrival();
      rates.transfer_us += arrival.transfer_us;
      rates.decode_us += arrival.decode_us;
    }
    ++batches;
    elapsed = std::chrono::duration<double>(Clock::now() - begin).count();
  } while (elapsed < options.seconds);
  next.wait();
  const double images = static_cast<double>(batches * options.batch);
  return {rates.transfer_us / images, rates.decode_us / images, rates.model_us / images, images / elapsed};
}

// ---- the ways in

Input jpeg_input(const std::vector<Blob>& files, const Options& options) {
  const std::size_t floats = std::size_t{3} * kRgbSize * kRgbSize;
  auto prepare = [&files, &options, floats] {
    Ready batch;
    batch.tensors.resize(files.size() * floats);
    parallel_for(files.size(), options.threads, [&](std::size_t i) {
      const Picture picture = read_jpeg(files[i], Limits{}, Interrupt{});
      place_rgb(picture, {0, 0, picture.width, picture.height}, kRgbSize, Normalisation{}, batch.tensors.data() + i * floats);
    });
    return batch;
  };
  return {"JPEG, decoded by the CPU", {kRgbSize, kRgbSize}, static_cast<double>(floats * sizeof(float)), prepare};
}

struct Coded {
  Coded(const char* text, const std::vector<Blob>& files, unsigned threads) : format(parse_format(text)), values(files.size()) {
    parallel_for(files.size(), threads, [&](std::size_t i) {
      values[i] = write_value(encode_file(files[i], format, Limits{}, Interrupt{}), kDefaultCompressionLevel);
    });
    const Geometry geometry = read_image(values.front(), Limits{}).header.geometry();
    size = {geometry.tensor_height, geometry.tensor_width};
    normalise();
  }

  std::size_t plane() const { return static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width); }

  // To a deviation of 1 in each channel, as a trained model has it.
  void normalise() {
    std::vector<float> tensor(3 * plane());
    double squares[3] = {};
    for (const Blob& value : values) {
      place(read_image(value, Limits{}), tensor.data());
      for (std::size_t i = 0; i < tensor.size(); ++i) squares[i / plane()] += double{tensor[i]} * tensor[i];
    }
    for (std::size_t c = 0; c < 3; ++c) {
      normalisation.deviation[c] = std::max(1e-3f, static_cast<float>(std::sqrt(squares[c] / double(plane() * values.size()))));
    }
  }

  // By the CPU.
  std::vector<float> tensors() const {
    std::vector<float> all(values.size() * 3 * plane());
    for (std::size_t i = 0; i < values.size(); ++i) {
      place_normalised(read_image(values[i], Limits{}), normalisation, all.data() + i * 3 * plane());
    }
    return all;
  }

  Format format;
  std::vector<Blob> values;
  TensorSize size{0, 0};
  Normalisation normalisation;
};

// decode_there: whether the stored bytes cross.
Input coded_input(const Coded& coded, Device& device, const Options& options, bool decode_there) {
  auto sent = [&coded, &options, decode_there] {
    std::vector<std::optional<gpu::Sent>> read(coded.values.size());
    parallel_for(read.size(), options.threads, [&](std::size_t i) {
      const StoredPayload payload = read_payload(coded.values[i], Limits{});
      if (decode_there && gpu::device_decodes(payload)) read[i] = payload;
      else read[i] = read_image(coded.values[i], Limits{});
    });
    std::vector<gpu::Sent> images;
    for (auto& image : read) images.push_back(std::move(*image));
    return images;
  };
  const double bytes = static_cast<double>(gpu::lay_out(sent()).bytes) / static_cast<double>(coded.values.size());
  auto prepare = [&coded, &device, sent] {
    return Ready{{}, device.send(sent(), coded.normalisation)};
  };
  return {to_string(coded.format) + (decode_there ? ", decoded by the GPU" : ", decoded by the CPU"), coded.size, bytes, prepare};
}

// ---- one network

// jpeg_rate: images a second, or 0 where this is the JPEG itself.
void print(const Input& input, const Rates& rates, double jpeg_rate, const std::string& difference) {
  std::printf("| %s | %dx%d | %.0f | %.3g | %.3g | %.3g | %.0f | %.1f | %s |\n", input.name.c_str(), input.size.height,
              input.size.width, input.bytes, rates.transfer_us, rates.decode_us, rates.model_us, rates.images_per_second,
              jpeg_rate > 0 ? rates.images_per_second / jpeg_rate : 1, difference.empty() ? "as the CPU's" : difference.c_str());
  std::fflush(stdout);
}

// JPEG whose bytes cross and are decoded there, and then the model, one after the other.
void print_decoded_there(const std::vector<Blob>& files, double decoded_us, const Rates& of_jpeg) {
  double bytes = 0;
  for (const Blob& file : files) bytes += static_cast<double>(file.size()) / static_cast<double>(files.size());
  const double rate = 1e6 / (decoded_us + of_jpeg.model_us);
  std::printf("| JPEG, copied and decoded by nvJPEG | %dx%d | %.0f | | %.3g | %.3g | %.0f | %.1f | |\n", kRgbSize, kRgbSize, bytes,
              decoded_us, of_jpeg.model_us, rate, rate / of_jpeg.images_per_second);
}

// decoded_us: what nvJPEG takes, where it is there. Whether all scores are right.
bool measure_network(const fs::path& path, const std::vector<Blob>& files, Engine& engine, Device& device, const Options& options,
                     std::optional<double> decoded_us) {
  const auto model = engine.load(read_file(path));
  std::printf("\n### %s\n\n"
              "| input | tensor | bytes an image | copy, us | decode, us | model, us | images a second | times JPEG's | scores |\n"
              "|---|---|---|---|---|---|---|---|---|\n", path.stem().c_str());
  bool right = true;
  auto check_and_measure = [&](const Input& input, const std::vector<float>& tensors, double jpeg_rate) {
    const std::string refusal = model->device_refusal(kDevice, input.size);
    if (!refusal.empty()) {
      right = false;
      print(input, {}, jpeg_rate, refusal);
      return Rates{};
    }
    const Scores cpu = model->run({tensors.data(), options.batch}, input.size, static_cast<int>(options.threads));
    const Rates rates = measure(*model, input, options);
    const std::string difference = score_difference(cpu, run(*model, input, input.prepare(), options.batch), kDeviceTolerance);
    right = right && difference.empty();
    print(input, rates, jpeg_rate, difference);
    return rates;
  };
  const Input jpeg = jpeg_input(files, options);
  const Rates of_jpeg = check_and_measure(jpeg, jpeg.prepare().tensors, 0);
  const double jpeg_rate = of_jpeg.images_per_second;
  if (decoded_us) print_decoded_there(files, *decoded_us, of_jpeg);
  for (const char* format : kFormats) {
    const Coded coded(format, files, options.threads);
    const std::vector<float> tensors = coded.tensors();
    for (bool decode_there : {false, true}) {
      check_and_measure(coded_input(coded, device, options, decode_there), tensors, jpeg_rate);
    }
  }
  return right;
}

// A peer that fails is a line that is missing.
std::optional<double> time_nvjpeg(const std::vector<Blob>& files, const Options& options) try {
  return nvjpeg_us(files, options.seconds);
} catch (const std::exception& error) {
  std::printf("nvJPEG is not measured: %s\n", error.what());
  return std::nullopt;
}

int measure_all(const Options& options) {
  const Devices devices = open_devices(options.plugin);  // before anything else of LibTorch
  if (devices.count() == 0) throw std::runtime_error("there is no GPU: " + devices.note());
  Device& device = devices[kDevice];
  const auto engine = make_engine(static_cast<int>(options.threads), devices);
  const std::vector<Blob> files = read_pictures(options);
  std::printf("%s (%s), batches of %zu, %u threads of the CPU\n", device.name().c_str(), device.description().c_str(), options.batch,
              options.threads);
  const std::optional<double> decoded_us = time_nvjpeg(files, options);
  bool right = true;
  for (const fs::path& path : files_of(options.models, {".pt"})) {
    right = measure_network(path, files, *engine, device, options, decoded_us) && right;
  }
  return right ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  int status = 2;
  try {
    status = measure_all(parse_options(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
  std::fflush(nullptr);
  ::_exit(status);  // LibTorch's static destructors crash
}
