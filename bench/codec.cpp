// Bytes and times of the codec in the showcase formats, beside other ways to store the same coefficients and beside JPEG.
// Prints Markdown.
//
//   imagecalc-bench-codec [--level N] [--rounds N] [--coders] FOLDER...
//
// All pictures of a folder are scaled to 256x256 and written as JPEG of quality 75 first; everything is measured on these.
#include <getopt.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "codec/cpu.h"
#include "codec/encode.h"
#include "codec/tensor.h"
#include "codec/value.h"
#include "codec_peers.h"
#include "codec_timing.h"
#include "edge/folder_walk.h"
#include "edge/picture_file.h"

namespace {

using namespace imagecalc;
using namespace imagecalc::bench;

constexpr int kSize = 256, kQuality = 75;
constexpr std::size_t kTimedPictures = 64;  // spread over the set
constexpr const char* kFormats[] = {"1x1/b256/k16/q50@256", "1x1/b32/k3/q50@256", "1x1/b128/k17/q50@256",
                                    "1x1/b128/k41/q50@256", "1x1/b16/k8/q50@256"};

const Interrupt kNever;

struct Arguments {
  int level = kDefaultCompressionLevel;
  int rounds = 15;
  bool coders = false;  // compare them as well
  std::vector<std::string> folders;
};

struct PictureSet {
  std::string name;
  std::vector<std::vector<std::uint8_t>> files;  // JPEG, 256x256, quality 75
};

// ---- the pictures

Picture resize(const Picture& picture) {
  const Planes planes = scale(picture, {0, 0, picture.width, picture.height}, kSize, kSize);
  Picture small{kSize, kSize, picture.channels, std::vector<std::uint8_t>(planes.samples.size())};
  const std::size_t area = std::size_t{kSize} * kSize;
  for (std::size_t n = 0; n < small.samples.size(); ++n) {
    const float sample = planes.samples[n % picture.channels * area + n / picture.channels];
    small.samples[n] = static_cast<std::uint8_t>(std::clamp(sample + 0.5f, 0.0f, 255.0f));
  }
  return small;
}

PictureSet load_set(const std::string& folder) {
  PictureSet set{std::filesystem::path(folder).filename().string(), {}};
  FolderWalk walk(folder);
  while (const auto found = walk.next()) {
    try {
      const auto file = load_file((walk.root() / found->path).string(), true);
      if (file) set.files.push_back(write_jpeg(resize(read_picture(*file, Limits{}, kNever)), kQuality));
    } catch (const Error& error) {
      std::fprintf(stderr, "%s is left out: %s\n", found->path.c_str(), error.what());
    }
  }
  if (set.files.empty()) throw Error(Fault::invalid_argument, "there are no pictures in " + folder);
  return set;
}

double mean_size(const PictureSet& set) {
  double sum = 0;
  for (const auto& file : set.files) sum += static_cast<double>(file.size());
  return sum / static_cast<double>(set.files.size());
}

std::vector<std::vector<std::uint8_t>> timed_files(const PictureSet& set) {
  const std::size_t count = std::min(kTimedPictures, set.files.size());
  std::vector<std::vector<std::uint8_t>> files;
  for (std::size_t n = 0; n < count; ++n) files.push_back(set.files[n * set.files.size() / count]);
  return files;
}

// ---- bytes

struct Sizes {
  double value = 0, zlib = 0, npz = 0, entropy = 0;  // means
};

Sizes mean_sizes(const PictureSet& set, const Format& format, int level) {
  Sizes sizes;
  EntropyBound bound;
  for (const auto& file : set.files) {
    const Coefficients coefficients = encode_file(file, format, Limits{}, kNever);
    const auto tensor = int32_tensor(coefficients);
    sizes.value += static_cast<double>(write_value(coefficients, level).size());
    sizes.zlib += static_cast<double>(zlib_size(tensor));
    sizes.npz += static_cast<double>(npz_size(tensor));
    bound.add(coefficients);
  }
  sizes.entropy = bound.bytes();
  for (double* sum : {&sizes.value, &sizes.zlib, &sizes.npz, &sizes.entropy}) *sum /= static_cast<double>(set.files.size());
  return sizes;
}

std::string tensor_text(const Format& format) {
  const TensorSize size = tensor_size(ModelInput{false, 0, format});
  return std::to_string(size.height) + "x" + std::to_string(size.width);
}

void print_sizes(const PictureSet& set, int level) {
  const double jpeg = mean_size(set);
  std::printf("Mean bytes a picture at level %d; a JPEG has %.0f. The bound is the order-0 entropy with a free table for "
              "each channel and frequency, made from these very pictures: it is optimistic.\n\n",
              level, jpeg);
  std::printf("| tensor | format | payload | value | zlib int32 | npz | entropy bound | payload / zlib | payload / bound "
              "| JPEG / value |\n|---|---|---|---|---|---|---|---|---|---|\n");
  for (const char* text : kFormats) {
    const Format format = parse_format(text);
    const Sizes sizes = mean_sizes(set, format, level);
    const double payload = sizes.value - static_cast<double>(kValueHeaderSize);
    std::printf("| %s | `%s` | %.0f | %.0f | %.0f | %.0f | %.0f | %.3f | %.2f | %.1f |\n", tensor_text(format).c_str(), text,
                payload, sizes.value, sizes.zlib, sizes.npz, sizes.entropy, payload / sizes.zlib, payload / sizes.entropy,
                jpeg / sizes.value);
    std::fflush(stdout);
  }
}

// ---- times

// The same pictures in one format, as every task needs them.
struct Samples {
  Format format;
  std::vector<std::vector<std::uint8_t>> values;
  std::vector<float> tensor;
};

// write: Coefficients to bytes.
template <typename Write>
Samples make_samples(const std::vector<std::vector<std::uint8_t>>& files, const Format& format, Write write) {
  const TensorSize size = tensor_size(ModelInput{false, 0, format});
  Samples samples{format, {}, std::vector<float>(std::size_t{3} * size.height * size.width)};
  for (const auto& file : files) samples.values.push_back(write(encode_file(file, format, Limits{}, kNever)));
  return samples;
}

void decode(Samples& samples, std::size_t n) { place(read_image(samples.values[n], Limits{}), samples.tensor.data()); }

// Tasks of a format, in this order.
enum { kDecode, kEncodePixels, kEncodeFile, kTasksPerFormat };

void print_times(const PictureSet& set, const Arguments& arguments) {
  const auto files = timed_files(set);
  std::vector<Picture> pictures;
  for (const auto& file : files) pictures.push_back(read_picture(file, Limits{}, kNever));
  std::vector<Samples> formats;
  for (const char* text : kFormats) {
    formats.push_back(make_samples(files, parse_format(text), [&](const Coefficients& coefficients) {
      return write_value(coefficients, arguments.level);
    }));
  }

  JpegDecoder exact(false), fast(true);
  std::vector<Task> tasks{{[&](std::size_t n) { exact.decode(files[n]); }}, {[&](std::size_t n) { fast.decode(files[n]); }}};
  for (Samples& samples : formats) {
    tasks.push_back({[&](std::size_t n) { decode(samples, n); }});
    tasks.push_back({[&](std::size_t n) { write_value(encode(pictures[n], samples.format, kNever), arguments.level); }});
    tasks.push_back({[&](std::size_t n) {
      write_value(encode_file(files[n], samples.format, Limits{}, kNever), arguments.level);
    }});
  }
  measure(tasks, files.size(), arguments.rounds);

  std::printf("\nCPU microseconds a picture, one thread: median (least..greatest) of %d interleaved rounds over %zu "
              "pictures. libjpeg-turbo, handle reused, decodes the JPEG to 8-bit RGB in %s us (in %s with its fast "
              "settings). Decoding is to the float32 tensor; encoding includes compressing.\n\n",
              arguments.rounds, files.size(), to_text(spread(tasks[0].us)).c_str(), to_text(spread(tasks[1].us)).c_str());
  std::printf("| tensor | decode | JPEG decode / decode | encode from RGB | encode from JPEG "
              "| JPEG decode / encode from JPEG |\n|---|---|---|---|---|---|\n");
  for (std::size_t n = 0; n < formats.size(); ++n) {
    const Task* own = &tasks[2 + n * kTasksPerFormat];
    std::printf("| %s | %s | %s | %s | %s | %s |\n", tensor_text(formats[n].format).c_str(),
                to_text(spread(own[kDecode].us)).c_str(), to_text(ratio(tasks[0], own[kDecode])).c_str(),
                to_text(spread(own[kEncodePixels].us)).c_str(), to_text(spread(own[kEncodeFile].us)).c_str(),
                to_text(ratio(tasks[0], own[kEncodeFile])).c_str());
  }
}

// ---- coders, each forced on every picture

const char* name_of(Coder coder) { return coder == Coder::zstd ? "zstd" : "rANS"; }

double mean_size(const PictureSet& set, const Format& format, int level, Coder coder) {
  double sum = 0;
  for (const auto& file : set.files) {
    sum += static_cast<double>(write_value(encode_file(file, format, Limits{}, kNever), level, coder).size());
  }
  return sum / static_cast<double>(set.files.size());
}

void print_coders(const PictureSet& set, const Arguments& arguments) {
  const auto files = timed_files(set);
  std::vector<Samples> samples;
  for (const char* text : kFormats) {
    for (const Coder coder : kCoders) {
      samples.push_back(make_samples(files, parse_format(text), [&](const Coefficients& coefficients) {
        return write_value(coefficients, arguments.level, coder);
      }));
    }
  }
  std::vector<Task> tasks;
  for (Samples& some : samples) tasks.push_back({[&](std::size_t n) { decode(some, n); }});
  measure(tasks, files.size(), arguments.rounds);

  std::printf("\nThe coders alone, at level %d.\n\n| tensor | coder | payload | decode us |\n|---|---|---|---|\n",
              arguments.level);
  for (std::size_t n = 0; n < samples.size(); ++n) {
    const Coder coder = kCoders[n % kCoders.size()];
    const double payload =
        mean_size(set, samples[n].format, arguments.level, coder) - static_cast<double>(kValueHeaderSize);
    std::printf("| %s | %s | %.0f | %s |\n", tensor_text(samples[n].format).c_str(), name_of(coder), payload,
                to_text(spread(tasks[n].us)).c_str());
  }
}

// ---- command line

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown CPU";
}

[[noreturn]] void usage() {
  std::fputs("usage: imagecalc-bench-codec [--level 1..19] [--rounds 9..] [--coders] FOLDER...\n", stderr);
  std::exit(2);
}

Arguments parse_arguments(int argc, char** argv) {
  static const option kOptions[] = {{"level", required_argument, nullptr, 'l'},
                                    {"rounds", required_argument, nullptr, 'r'},
                                    {"coders", no_argument, nullptr, 'c'},
                                    {nullptr, 0, nullptr, 0}};
  Arguments arguments;
  for (int code; (code = ::getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    if (code == 'l') {
      arguments.level = std::atoi(optarg);
    } else if (code == 'r') {
      arguments.rounds = std::atoi(optarg);
    } else if (code == 'c') {
      arguments.coders = true;
    } else {
      usage();
    }
  }
  arguments.folders.assign(argv + ::optind, argv + argc);
  if (arguments.folders.empty() || arguments.rounds < 9) usage();
  return arguments;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse_arguments(argc, argv);
  try {
    std::printf("%s, vectors of %s.\n", cpu_name().c_str(), cpu_paths().front().c_str());
    for (const std::string& folder : arguments.folders) {
      const PictureSet set = load_set(folder);
      std::printf("\n### %s: %zu pictures, 256x256\n\n", set.name.c_str(), set.files.size());
      print_sizes(set, arguments.level);
      print_times(set, arguments);
      if (arguments.coders) print_coders(set, arguments);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
