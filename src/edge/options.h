// The command line of imagecalc-encode.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "codec/picture.h"
#include "codec/value.h"
#include "format/format.h"

namespace imagecalc {

// How every picture is encoded; with the same settings, the same bytes as the server's ic_encode.
struct EncodeSettings {
  Format format;
  int level = kDefaultCompressionLevel;
  Limits limits;
  Orientation orientation = Orientation::as_stored;
};

struct Options {
  enum class Action { encode, help, version };

  Action action = Action::encode;
  EncodeSettings settings;
  std::string folder;    // empty: one picture, from standard input
  bool preview = false;  // write a PNG of what the value shows
  int jobs = 0;          // threads for a folder; 0 is one a core
};

// Throws Error(invalid_argument) or Error(bad_format).
Options parse_options(int argc, char** argv);

std::string_view usage();

}  // namespace imagecalc
