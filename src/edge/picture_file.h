// From a picture file to a value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "edge/options.h"

namespace imagecalc {

// All bytes of a picture file. With `only_pictures`, nothing for a file that does not begin like one; it is then not read
// to its end. Throws std::system_error, and Error(limit_exceeded) for more than a bytea can hold.
std::optional<std::vector<std::uint8_t>> load_stream(int descriptor, bool only_pictures);
std::optional<std::vector<std::uint8_t>> load_file(const std::string& path, bool only_pictures);

// The stored value, as ic_encode makes it.
std::vector<std::uint8_t> encode_value(Bytes file, const EncodeSettings& settings, const Interrupt& interrupt);

// A PNG file of what that value shows.
std::vector<std::uint8_t> encode_preview(Bytes file, const EncodeSettings& settings, const Interrupt& interrupt);

// What to tell the user: the message, and its hint in words of the command line.
std::string explain(const std::exception& error);

}  // namespace imagecalc
