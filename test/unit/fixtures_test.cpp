// Version 1 of the value layout is frozen: values that were written then are read for ever (test/fixtures/README.md).
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "codec/value.h"

namespace imagecalc {
namespace {

namespace fs = std::filesystem;

const fs::path kFolder = IMAGECALC_FIXTURES;

std::vector<std::uint8_t> read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Coefficients read_expected(const fs::path& path) {
  std::ifstream file(path);
  Coefficients expected;
  std::string format;
  file >> format >> expected.channels >> expected.coded_width >> expected.coded_height >> expected.source_width >>
      expected.source_height;
  expected.format = parse_format(format);
  expected.values.assign(std::istream_iterator<std::int32_t>(file), {});
  return expected;
}

TEST(Fixtures, ReadAsTheyWereWritten) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(kFolder)) {
    if (entry.path().extension() != ".icimage") continue;
    SCOPED_TRACE(entry.path().filename());
    ++count;
    const Coefficients expected = read_expected(fs::path(entry.path()).replace_extension(".txt"));
    const Coefficients read = read_value(read_bytes(entry.path()), Limits{});
    EXPECT_EQ(to_string(read.format), to_string(expected.format));
    EXPECT_EQ(read.channels, expected.channels);
    EXPECT_EQ(read.coded_width, expected.coded_width);
    EXPECT_EQ(read.coded_height, expected.coded_height);
    EXPECT_EQ(read.source_width, expected.source_width);
    EXPECT_EQ(read.source_height, expected.source_height);
    EXPECT_EQ(read.values, expected.values);
  }
  EXPECT_EQ(count, 9);
}

// Not promised to users (a later encoder may choose better), but a change here is never an accident.
TEST(Fixtures, AreWrittenTheSame) {
  for (const char* name : {"rans-4-lanes", "rans-16-lanes", "rans-gray", "rans-large", "rans-one"}) {
    SCOPED_TRACE(name);
    const Coefficients coefficients = read_expected(kFolder / (std::string(name) + ".txt"));
    EXPECT_EQ(write_value(coefficients, 3), read_bytes(kFolder / (std::string(name) + ".icimage")));
  }
}

}  // namespace
}  // namespace imagecalc
