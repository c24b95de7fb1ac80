// Formats and model inputs as users type them, and as type modifiers.
#include <cstring>

#include "format/format.h"
#include "fuzz.h"

namespace imagecalc::fuzz {
namespace {

void read_text(std::string_view text) {
  Format format;
  if (attempt({Fault::bad_format}, [&] { format = parse_format(text); })) {
    require(parse_format(to_string(format)) == format, "a format's text parses to it");
    require(unpack(pack(format)) == format, "a format's packed form unpacks to it");
    check(format);
  }
  ModelInput input;
  if (attempt({Fault::bad_format}, [&] { input = parse_model_input(text); })) {
    require(parse_model_input(to_string(input)) == input, "an input's text parses to it");
  }
}

void read_packed(std::uint32_t packed) {
  Format format;
  if (!attempt({Fault::bad_format}, [&] { format = unpack(packed); })) return;
  require(pack(format) == packed, "a format has one packed form");
  require(parse_format(to_string(format)) == format, "its text parses to it");
}

}  // namespace

void read(Input input) {
  read_text({reinterpret_cast<const char*>(input.data()), input.size()});
  std::uint32_t packed = 0;
  if (input.size() != sizeof packed) return;
  std::memcpy(&packed, input.data(), sizeof packed);
  read_packed(packed);
}

}  // namespace imagecalc::fuzz
