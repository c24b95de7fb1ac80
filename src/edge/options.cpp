#include "edge/options.h"

#include <getopt.h>

#include <charconv>
#include <climits>

namespace imagecalc {
namespace {

constexpr int kMaxJobs = 1024;
constexpr const char* kSeeHelp = "See imagecalc-encode --help.";

enum Code { kLevel = 256, kMaxPixels, kUpright, kJobs, kPreview, kHelp, kVersion };

constexpr option kOptions[] = {{"level", required_argument, nullptr, kLevel},
                               {"max-pixels", required_argument, nullptr, kMaxPixels},
                               {"upright", no_argument, nullptr, kUpright},
                               {"jobs", required_argument, nullptr, kJobs},
                               {"preview", no_argument, nullptr, kPreview},
                               {"help", no_argument, nullptr, kHelp},
                               {"version", no_argument, nullptr, kVersion},
                               {nullptr, 0, nullptr, 0}};

int parse_number(const char* name, std::string_view text, int largest) {
  int number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || stop != text.data() + text.size() || number < 1 || number > largest) {
    throw Error(Fault::invalid_argument,
                std::string(name) + " must be between 1 and " + std::to_string(largest) + ", not \"" + std::string(text) + '"',
                kSeeHelp);
  }
  return number;
}

// word: the one that was read last.
void take_option(int code, const std::string& word, Options& options) {
  switch (code) {
    case kLevel: options.settings.level = parse_number("--level", optarg, kMaxCompressionLevel); break;
    case kMaxPixels: options.settings.limits.max_pixels = parse_number("--max-pixels", optarg, INT_MAX); break;
    case kUpright: options.settings.orientation = Orientation::upright; break;
    case kJobs: options.jobs = parse_number("--jobs", optarg, kMaxJobs); break;
    case kPreview: options.preview = true; break;
    case 'h':
    case kHelp: options.action = Options::Action::help; break;
    case kVersion: options.action = Options::Action::version; break;
    case ':': throw Error(Fault::invalid_argument, word + " needs a value", kSeeHelp);
    default:
      const bool letter = ::optopt > 0 && ::optopt < kLevel;  // perhaps one of several in a word
      throw Error(Fault::invalid_argument, "unknown option " + (letter ? '-' + std::string(1, ::optopt) : word), kSeeHelp);
  }
}

void take_words(int count, char** words, Options& options) {
  if (count < 1) throw Error(Fault::invalid_argument, "a format is missing", kSeeHelp);
  if (count > 2) throw Error(Fault::invalid_argument, "too many arguments", kSeeHelp);
  options.settings.format = parse_format(words[0]);
  if (count == 2) options.folder = words[1];
  if (count == 2 && options.folder.empty()) throw Error(Fault::invalid_argument, "the folder's name is empty", kSeeHelp);
  if (count == 2 && options.preview) {
    throw Error(Fault::invalid_argument, "--preview shows one picture, not a folder", "Give the picture on standard input.");
  }
}

}  // namespace

Options parse_options(int argc, char** argv) {
  Options options;
  ::optind = 0;  // starts anew
  for (int code; (code = ::getopt_long(argc, argv, ":h", kOptions, nullptr)) != -1;) {
    take_option(code, argv[::optind - 1], options);
    if (options.action != Options::Action::encode) return options;
  }
  take_words(argc - ::optind, argv + ::optind, options);
  return options;
}

std::string_view usage() {
  return R"help(imagecalc-encode stores pictures as icimage values, with no database at hand.

  imagecalc-encode FORMAT < PICTURE > VALUE      the bytes that ic_encode gives
  imagecalc-encode FORMAT FOLDER > STREAM        every picture below the folder, as rows (file text, image icimage):
    psql -c "\copy images (file, image) FROM 'STREAM' (FORMAT binary)"
  imagecalc-encode --preview FORMAT < PICTURE > PNG     what the value shows

FORMAT is as in SQL, for example 1x1/b32/k6/q50@256. It scales a picture to a square, whatever its proportions, or keeps its
size where no @SIZE is given. JPEG, PNG and WebP files are told by their content; files of other kinds are counted only.

Below a folder, links to files are followed, links to folders are not. A picture that cannot be read, or a file that only has
a picture's name, is named on standard error and left out. Exit status: 0; 1 where something was left out or could not be
read or written; 2 for wrong arguments.

  --level N         effort of compressing, 1 to 19; defaults as imagecalc.compression_level
  --max-pixels N    larger pictures are refused before they are decoded; defaults as imagecalc.max_pixels
  --upright         turn pictures as their EXIF orientation says, as ic_encode's third argument
  --jobs N          threads for a folder (default one a core); the output does not depend on it
  --preview         write a PNG file
  -h, --help, --version
)help";
}

}  // namespace imagecalc
