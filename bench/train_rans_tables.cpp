// Makes src/codec/rans_frequencies.inc, the tables of coder 1, from folders of pictures:
//
//   train_rans_tables FOLDER... > src/codec/rans_frequencies.inc
//
// Every picture is encoded in formats drawn from all over the design space (some with finer quantizers), and its symbols are
// counted by context; a byte of an encoding counts as much as the encoding is small, so that the mean ratio is what is best.
// The tables that it was built with decide where escapes are, so two runs, with a build between them, settle. The tables are
// part of version 1 of the value layout: new ones need a new coder number.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <random>

#include "codec/encode.h"
#include "codec/rans.h"
#include "codec/rans_tables.h"
#include "codec/value.h"

using namespace imagecalc;

namespace {

constexpr int kPicturesAFolder = 400, kFormatsAPicture = 12;
constexpr int kHighest = 1020;  // of a frequency: what is left for all else
using Counts = std::array<std::array<double, rans::kSymbols>, rans::kContexts>;

std::vector<std::filesystem::path> choose_files(const char* folder, std::mt19937& random) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::shuffle(files.begin(), files.end(), random);
  return files;
}

Bytes as_bytes(const std::string& text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Each block as often as any other (most of the design space has large ones), seven in eight with a quantizer that is
// searched.
Format draw_format(std::mt19937& random) {
  static constexpr int kSizes[] = {64, 128, 256, 256, 512}, kFine[] = {1, 2, 5, 10};
  Format format;
  format.subsampling = static_cast<Subsampling>(random() % 4);
  format.block = kBlocks[random() % kBlocks.size()];
  format.kept = 1 + static_cast<int>(random() % static_cast<unsigned>(format.block));
  format.quantizer = random() % 8 == 0 ? kFine[random() % std::size(kFine)] : kSearchedQuantizers[random() % 3];
  format.size = kSizes[random() % std::size(kSizes)];
  return format;
}

void count(const Coefficients& coefficients, Counts& counts) {
  const Geometry geometry = coefficients.geometry();
  const rans::Contexts contexts =
      rans::contexts_of(difference_planes(coefficients),
                        {coefficients.channels, coefficients.format.kept, geometry.blocks_across, geometry.blocks_down});
  const double weight = 1.0 / static_cast<double>(write_value(coefficients, kDefaultCompressionLevel, Coder::rans).size());
  for (std::size_t n = 0; n < contexts.symbols.size(); ++n) counts[contexts.contexts[n]][contexts.symbols[n]] += weight;
}

double sum_of(const std::array<double, rans::kSymbols>& row) { return std::accumulate(row.begin(), row.end(), 0.0); }

// The row of a context that was met often, for one that expects coefficients `half_octaves` larger.
std::array<double, rans::kSymbols> enlarged(const std::array<double, rans::kSymbols>& row, int half_octaves) {
  std::array<double, rans::kSymbols> larger{};
  for (int symbol = 0; symbol < rans::kSymbols; ++symbol) {
    const int to = symbol > rans::kEscape ? std::min(symbol + half_octaves, rans::kSymbols - 1) : symbol;
    larger[to] += row[symbol];
  }
  return larger;
}

// A context that was hardly met follows from the one below it.
std::array<double, rans::kSymbols> smoothed(const Counts& counts, int context) {
  constexpr double kEnough = 1.0;
  int met = context;
  while (met > 0 && sum_of(counts[met]) < kEnough) --met;
  std::array<double, rans::kSymbols> row = enlarged(counts[met], context - met);
  const double total = sum_of(row);
  for (double& probability : row) probability /= total;
  return row;
}

// Rounded to slots; what is too rare for one becomes part of the escape, which always has one.
std::array<int, rans::kSymbols> to_frequencies(const std::array<double, rans::kSymbols>& probabilities) {
  std::array<int, rans::kSymbols> frequencies{};
  double rare = 0;
  for (int symbol = 0; symbol < rans::kSymbols; ++symbol) {
    const double slots = probabilities[symbol] * rans::kSlots;
    frequencies[symbol] = symbol == rans::kEscape ? 0 : static_cast<int>(std::lround(slots));
    if (frequencies[symbol] == 0) rare += slots;
  }
  frequencies[rans::kEscape] = std::max(1, static_cast<int>(std::lround(rare)));
  const auto highest = std::max_element(frequencies.begin(), frequencies.end());
  *highest += rans::kSlots - std::accumulate(frequencies.begin(), frequencies.end(), 0);
  if (*highest > kHighest) {
    frequencies[rans::kEscape] += *highest - kHighest;
    *highest = kHighest;
  }
  return frequencies;
}

void print(const Counts& counts) {
  for (int context = 0; context < rans::kContexts; ++context) {
    const auto frequencies = to_frequencies(smoothed(counts, context));
    for (int symbol = 0; symbol < rans::kSymbols; ++symbol) {
      std::printf("%s%d", symbol == 0 ? "{" : symbol == rans::kEscape + 1 ? ",\n " : ", ", frequencies[symbol]);
    }
    std::printf("},\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::mt19937 random(1);
  Counts counts{};
  for (int n = 1; n < argc; ++n) {
    int pictures = 0;
    for (const std::filesystem::path& path : choose_files(argv[n], random)) {
      if (pictures == kPicturesAFolder) break;
      try {
        const Picture picture = read_picture(as_bytes(read_file(path)), Limits{}, Interrupt{});
        for (int round = 0; round < kFormatsAPicture; ++round)
          count(encode(picture, draw_format(random), Interrupt{}), counts);
        ++pictures;
      } catch (const Error&) {  // no picture
      }
    }
    std::fprintf(stderr, "%s: %d pictures\n", argv[n], pictures);
  }
  print(counts);
}
