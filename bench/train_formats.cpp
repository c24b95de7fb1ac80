// Trains a model for formats that one names: what a design's predictions are compared with, and what an accuracy model is made
// from.
//
//   imagecalc-bench-train FOLDER MODEL.pt SIZE EPOCHS LEARNING_RATE THREADS
//
// FOLDER has pictures and labels.csv (file,label,split with train and validation). Reads lines "FORMAT SEED", a format without
// its size, and answers each with a line "FORMAT SEED BYTES ACCURACY LOSS SECONDS": the mean bytes of a value, then what is found on
// the validation pictures after all epochs from the file's weights, one-cycle, batches of 32, as a design trains.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>

#include "codec/encode.h"
#include "codec/value.h"
#include "runner/train/training.h"

namespace {

using namespace imagecalc;
namespace fs = std::filesystem;

struct Labelled {
  std::string file, label;
  bool validation = false;
};

Blob read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("could not read " + path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<Labelled> read_index(const fs::path& folder) {
  std::ifstream index(folder / "labels.csv");
  if (!index) throw std::runtime_error("could not read " + (folder / "labels.csv").string());
  std::vector<Labelled> pictures;
  std::string line;
  for (std::getline(index, line); std::getline(index, line);) {
    Labelled picture;
    std::string split;
    std::istringstream fields(line);
    std::getline(std::getline(std::getline(fields, picture.file, ','), picture.label, ','), split, ',');
    picture.validation = split.starts_with("validation");
    pictures.push_back(std::move(picture));
  }
  return pictures;
}

// Labels get their numbers in alphabetical order, as in a design.
AddImages read_pictures(const fs::path& folder, std::uint32_t& classes) {
  const std::vector<Labelled> pictures = read_index(folder);
  std::map<std::string, std::uint32_t> numbers;
  for (const Labelled& picture : pictures) numbers[picture.label];
  classes = 0;
  for (auto& [label, number] : numbers) number = classes++;
  AddImages images;
  for (const Labelled& picture : pictures) {
    images.images.push_back({read_file(folder / picture.file), numbers[picture.label], picture.validation});
  }
  return images;
}

constexpr std::uint64_t kMemory = std::uint64_t{4} << 30;

double mean_bytes(const DataSet& data, const Format& format) {
  double sum = 0;
  for (const Sample& sample : data.training()) {
    const Interrupt interrupt;
    sum += static_cast<double>(write_value(encode(sample.picture(), format, interrupt), kDefaultCompressionLevel, interrupt).size());
  }
  return sum / static_cast<double>(data.training().size());
}

void train_all(const TrainSetup& setup, const DataSet& data, std::uint32_t epochs) {
  std::string format;
  for (std::uint64_t seed; std::cin >> format >> seed;) {
    Train request;
    request.input.format = parse_format(format + "@" + std::to_string(setup.size));
    request.epochs = epochs;
    request.seed = seed;
    const TrainReply reply = train_model(setup, data, request, {.threads = setup.threads}, [](const Progress&) {}, Interrupt());
    std::printf("%s %llu %.1f %.5f %.5f %.2f\n", format.c_str(), static_cast<unsigned long long>(seed),
                mean_bytes(data, request.input.format), reply.accuracy, reply.loss, reply.seconds);
    std::fflush(stdout);
  }
}

void run(char** arguments) {
  TrainSetup setup;
  const AddImages images = read_pictures(arguments[0], setup.classes);
  setup.model = read_file(arguments[1]);
  setup.size = static_cast<std::uint32_t>(std::stoul(arguments[2]));
  setup.learning_rate = std::stof(arguments[4]);
  setup.threads = static_cast<std::uint32_t>(std::stoul(arguments[5]));
  setup.max_pixels = Limits{}.max_pixels;
  setup.memory = kMemory;
  DataSet data(setup);
  data.add(images, Interrupt());
  train_all(setup, data, static_cast<std::uint32_t>(std::stoul(arguments[3])));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fputs("usage: imagecalc-bench-train FOLDER MODEL.pt SIZE EPOCHS LEARNING_RATE THREADS\n", stderr);
    return 2;
  }
  int status = 0;
  try {
    run(argv + 1);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    status = 1;
  }
  std::fflush(nullptr);
  ::_exit(status);  // LibTorch's static destructors crash
}
