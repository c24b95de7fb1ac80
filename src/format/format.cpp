#include "format/format.h"

#include <algorithm>
#include <bit>
#include <charconv>

#include "format/error.h"

namespace imagecalc {
namespace {

constexpr std::array<std::string_view, 4> kSubsamplingNames = {"1x1", "2x2r", "2x2c", "4x4"};
constexpr std::string_view kRgbPrefix = "rgb@";
constexpr const char* kFormatHint =
    "Write subsampling, block, coefficients, quantization and, where pictures are scaled, a size: 1x1/b32/k6/q50@256.";
constexpr const char* kInputHint = "Write a format, as in 1x1/b32/k6/q50@256, or a size in pixels, as in rgb@256.";

[[noreturn]] void reject(const std::string& what, const char* hint = kFormatHint) {
  throw Error(Fault::bad_format, what, hint);
}

// For messages: a text longer than any format can be is not repeated.
std::string quoted(std::string_view text) {
  constexpr std::size_t kLongest = 40;
  if (text.size() > kLongest) return "of " + std::to_string(text.size()) + " bytes";
  return std::string(1, '"').append(text).append(1, '"');
}

// Digits only, no leading zero: every number has one spelling. Nothing where it is not one, or does not fit an int.
bool parse_number(std::string_view digits, int& number) {
  if (digits.empty() || digits.front() < '1' || digits.front() > '9') return false;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() && end == digits.data() + digits.size();
}

// Takes the parts off a format's text, one after the other.
class FormatText {
 public:
  explicit FormatText(std::string_view text) : text_(text), rest_(text) {}

  Subsampling take_subsampling() {
    std::string_view part = take_until('/');
    auto name = std::find(kSubsamplingNames.begin(), kSubsamplingNames.end(), part);
    if (name == kSubsamplingNames.end()) fail("subsampling must be 1x1, 2x2r, 2x2c or 4x4, not " + quoted(part));
    return static_cast<Subsampling>(name - kSubsamplingNames.begin());
  }

  // A part like b32.
  int take(char letter, const char* name, char end) {
    std::string_view part = take_until(end);
    int number = 0;
    if (part.empty() || part.front() != letter || !parse_number(part.substr(1), number)) {
      fail(std::string(name) + " must be written as " + letter + " and a number, not " + quoted(part));
    }
    return number;
  }

  int take_size() {
    int size = 0;
    if (has_size_ && !parse_number(rest_, size)) fail("size must be a number, not " + quoted(rest_));
    return size;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { reject("invalid image format " + quoted(text_) + ": " + what); }

  std::string_view take_until(char end) {
    std::size_t at = rest_.find(end);
    std::string_view part = rest_.substr(0, at);
    has_size_ = end == '@' && at != std::string_view::npos;
    rest_ = at == std::string_view::npos ? std::string_view() : rest_.substr(at + 1);
    return part;
  }

  std::string_view text_, rest_;
  bool has_size_ = false;
};

int block_code(int block) { return std::countr_zero(static_cast<unsigned>(block)) - std::countr_zero(unsigned{kMinBlock}); }

bool is_block(int block) { return std::find(kBlocks.begin(), kBlocks.end(), block) != kBlocks.end(); }

int halved(int length, bool subsampled) { return subsampled ? (length + 1) / 2 : length; }

}  // namespace

void check(const Format& format) {
  if (format.subsampling > Subsampling::both) reject("subsampling must be 1x1, 2x2r, 2x2c or 4x4");
  if (!is_block(format.block)) reject("block must be 8, 16, 32, 64, 128 or 256, not " + std::to_string(format.block));
  if (format.kept < 1 || format.kept > format.block) {
    reject("coefficients must be between 1 and the block's " + std::to_string(format.block) + ", not " +
           std::to_string(format.kept));
  }
  if (format.quantizer < 1 || format.quantizer > kMaxQuantizer) {
    reject("quantization must be between 1 and 255, not " + std::to_string(format.quantizer));
  }
  if (format.size < 0 || format.size > kMaxSize || format.size % kSizeStep != 0) {
    reject("size must be a multiple of 8 up to 8184, not " + std::to_string(format.size));
  }
}

Format parse_format(std::string_view text) {
  FormatText parts(text);
  Format format;
  format.subsampling = parts.take_subsampling();
  format.block = parts.take('b', "block", '/');
  format.kept = parts.take('k', "coefficients", '/');
  format.quantizer = parts.take('q', "quantization", '@');
  format.size = parts.take_size();
  check(format);
  return format;
}

// ic_explore makes thousands of them in a few milliseconds.
std::string to_string(const Format& format) {
  std::array<char, 64> text;  // a name and four numbers
  char* end = text.data();
  const auto add = [&](std::string_view part) { end = std::copy(part.begin(), part.end(), end); };
  const auto add_number = [&](std::string_view before, int number) {
    add(before);
    end = std::to_chars(end, text.data() + text.size(), number).ptr;
  };
  add(kSubsamplingNames[static_cast<std::size_t>(format.subsampling)]);
  add_number("/b", format.block);
  add_number("/k", format.kept);
  add_number("/q", format.quantizer);
  if (format.size > 0) add_number("@", format.size);
  return {text.data(), end};
}

std::uint32_t pack(const Format& format) {
  check(format);
  std::uint32_t packed = static_cast<std::uint32_t>(format.subsampling);
  packed = packed << 3 | static_cast<std::uint32_t>(block_code(format.block));
  packed = packed << 8 | static_cast<std::uint32_t>(format.kept - 1);
  packed = packed << 8 | static_cast<std::uint32_t>(format.quantizer);
  return packed << 10 | static_cast<std::uint32_t>(format.size / kSizeStep);
}

Format unpack(std::uint32_t packed) {
  std::uint32_t code = packed >> 26 & 7;
  if (packed >> 31 != 0 || code >= kBlocks.size()) {
    throw Error(Fault::bad_format, "packed image format " + std::to_string(packed) + " is not one of this version",
                "A newer version of imagecalc may have written it.");
  }
  Format format;
  format.subsampling = static_cast<Subsampling>(packed >> 29 & 3);
  format.block = kBlocks[code];
  format.kept = static_cast<int>(packed >> 18 & 255) + 1;
  format.quantizer = static_cast<int>(packed >> 10 & 255);
  format.size = static_cast<int>(packed & 1023) * kSizeStep;
  check(format);
  return format;
}

std::vector<Format> design_space(int size) {
  std::vector<Format> formats;
  for (auto subsampling : {Subsampling::none, Subsampling::rows, Subsampling::columns, Subsampling::both}) {
    for (int block : kBlocks) {
      for (int kept = 1; kept <= block; ++kept) {
        for (int quantizer : kSearchedQuantizers) formats.push_back({subsampling, block, kept, quantizer, size});
      }
    }
  }
  return formats;
}

Geometry geometry(const Format& format, int coded_width, int coded_height) {
  Geometry result;
  result.plane_width = halved(coded_width, halves_columns(format.subsampling));
  result.plane_height = halved(coded_height, halves_rows(format.subsampling));
  result.blocks_across = (result.plane_width + format.block - 1) / format.block;
  result.blocks_down = (result.plane_height + format.block - 1) / format.block;
  result.tensor_width = result.blocks_across * format.kept;
  result.tensor_height = result.blocks_down * format.kept;
  return result;
}

std::vector<Frequency> triangle(int kept) {
  std::vector<Frequency> order;
  order.reserve(static_cast<std::size_t>(triangle_size(kept)));
  for (int diagonal = 0; diagonal < kept; ++diagonal) {
    for (int i = 0; i <= diagonal; ++i) order.push_back({i, diagonal - i});
  }
  return order;
}

ModelInput parse_model_input(std::string_view text) {
  ModelInput input;
  if (!text.starts_with(kRgbPrefix)) {
    input.format = parse_format(text);
    return input;
  }
  input.rgb = true;
  if (!parse_number(text.substr(kRgbPrefix.size()), input.rgb_size) || input.rgb_size > kMaxSize) {
    reject("invalid model input " + quoted(text) + ": size must be between 1 and 8184", kInputHint);
  }
  return input;
}

std::string to_string(const ModelInput& input) {
  return input.rgb ? std::string(kRgbPrefix) + std::to_string(input.rgb_size) : to_string(input.format);
}

}  // namespace imagecalc
