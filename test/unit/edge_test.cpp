// imagecalc-encode: what it reads, in which order, and the stream that it writes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <system_error>

#include "codec/encode.h"
#include "edge/copy_stream.h"
#include "edge/picture_file.h"
#include "edge/pipeline.h"
#include "pictures.h"

namespace imagecalc {
namespace {

namespace fs = std::filesystem;

using test::fault_of;

// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "imagecalc-edge.XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), name);
    root_ = name;
  }
  ~Folder() { fs::remove_all(root_); }

  const fs::path& root() const { return root_; }

  void add(const std::string& path, Bytes bytes) const {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  }
  void add(const std::string& path, const std::string& text) const {
    add(path, Bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
  }

 private:
  fs::path root_;
};

std::vector<std::string> paths_in(const fs::path& root) {
  FolderWalk walk(root);
  std::vector<std::string> paths;
  while (const auto found = walk.next()) paths.push_back(found->path + found->failure);
  return paths;
}

EncodeSettings settings_for(const char* format) {
  EncodeSettings settings;
  settings.format = parse_format(format);
  return settings;
}

std::vector<Pipeline::Result> encode_all(const fs::path& root, const EncodeSettings& settings, int jobs) {
  FolderWalk walk(root);
  Pipeline pipeline(walk, settings, jobs);
  std::vector<Pipeline::Result> results;
  while (auto result = pipeline.next()) results.push_back(std::move(*result));
  return results;
}

// Photographs where they are at hand, else drawn pictures; one in a folder of its own.
std::vector<std::vector<std::uint8_t>> add_pictures(const Folder& folder, int count) {
  std::vector<std::vector<std::uint8_t>> files;
  for (int n = 0; n < count; ++n) {
    files.push_back(n == 0 && !test::photograph_file().empty()
                        ? test::photograph_file()
                        : write_jpeg(test::drawn_picture(40 + 13 * n, 64, n % 2 ? 1 : 3, static_cast<unsigned>(n)), 80));
    folder.add((n % 3 ? "b/" : "") + std::to_string(100 + n), files.back());
  }
  return files;
}

std::vector<std::uint8_t> written_by(const std::function<void(Output&)>& write) {
  std::FILE* file = std::tmpfile();
  Output output(::dup(::fileno(file)));
  write(output);
  output.finish();
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(::lseek(::fileno(file), 0, SEEK_END)));
  EXPECT_EQ(::pread(::fileno(file), bytes.data(), bytes.size(), 0), std::ssize(bytes));
  std::fclose(file);
  return bytes;
}

Options parse(std::vector<std::string> words) {
  words.insert(words.begin(), "imagecalc-encode");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  return parse_options(static_cast<int>(words.size()), argv.data());
}

std::string complaint_of(const std::vector<std::string>& words) {
  try {
    parse(words);
  } catch (const Error& error) {
    EXPECT_NE(error.hint(), "");
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace

TEST(FolderWalk, GoesByTheBytesOfWholePaths) {
  const Folder folder;
  for (const char* path : {"b/z", "a.x", "a/2", "a/1/deep/er", "a0", "B", "a/10", "ä"}) folder.add(path, path);
  fs::create_directory(folder.root() / "empty");
  const auto paths = paths_in(folder.root());
  EXPECT_EQ(paths, (std::vector<std::string>{"B", "a.x", "a/1/deep/er", "a/10", "a/2", "a0", "b/z", "ä"}));
  EXPECT_TRUE(std::is_sorted(paths.begin(), paths.end()));
}

TEST(FolderWalk, FollowsLinksToFilesOnly) {
  const Folder folder;
  folder.add("a/picture", "");
  fs::create_symlink("picture", folder.root() / "a/link");
  fs::create_symlink("nowhere", folder.root() / "a/dangling");
  fs::create_directory_symlink("..", folder.root() / "a/loop");
  ASSERT_EQ(::mkfifo((folder.root() / "a/pipe").c_str(), 0600), 0);
  EXPECT_EQ(paths_in(folder.root()), (std::vector<std::string>{"a/link", "a/picture"}));
}

TEST(FolderWalk, TellsOfFoldersThatItCannotRead) {
  EXPECT_THROW(FolderWalk("/nonexistent"), std::system_error);
  const Folder folder;
  folder.add("file", "");
  EXPECT_EQ(fault_of([&] { FolderWalk(folder.root() / "file"); }), Fault::invalid_argument);
  if (::geteuid() == 0) GTEST_SKIP() << "root may read every folder";
  folder.add("a/hidden", "");
  fs::permissions(folder.root() / "a", fs::perms::none);
  const auto paths = paths_in(folder.root());
  fs::permissions(folder.root() / "a", fs::perms::owner_all);
  ASSERT_EQ(paths.size(), 2u);
  EXPECT_EQ(paths[0], "a/could not read the folder: Permission denied");
}

TEST(CopyStream, IsPostgresBinaryFormat) {
  const auto bytes = written_by([](Output& output) {
    CopyStream stream(output);
    stream.write_row("a/b.jpg", std::vector<std::uint8_t>{0x1C, 1, 2});
    stream.write_trailer();
  });
  const std::string expected("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0" "\0\2"
                             "\0\0\0\7a/b.jpg" "\0\0\0\3\x1C\1\2" "\377\377", 41);
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), expected);
}

TEST(CopyStream, KnowsWhatPostgresTakesForUtf8) {
  for (const char* text : {"", "a/b.jpg", "\x7F", "ä€𐍈", "\uFFFD", "\U0010FFFF", "\xED\x9F\xBF"}) {
    EXPECT_TRUE(is_utf8_text(text)) << text;
  }
  for (const char* text : {"\x80", "a\xC3", "\xC0\xAF", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                           "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE4\xC4\x80", "\xE2\x82", "\xFF"}) {
    EXPECT_FALSE(is_utf8_text(text)) << testing::PrintToString(std::string(text));
  }
  EXPECT_FALSE(is_utf8_text(std::string_view("a\0b", 3)));
}

TEST(Output, KeepsTheOrderOfSmallAndLargeWrites) {
  std::vector<std::uint8_t> expected;
  const auto bytes = written_by([&](Output& output) {
    for (std::size_t size : {1u, 1000u, 300'000u, 5u, 262'144u, 0u, 7u, 900'000u}) {
      const std::vector<std::uint8_t> part(size, static_cast<std::uint8_t>(size % 251));
      expected.insert(expected.end(), part.begin(), part.end());
      output.write(part);
    }
  });
  EXPECT_TRUE(bytes == expected);
}

TEST(Output, TellsOfAFullDisk) {
  Output small(::open("/dev/full", O_WRONLY));
  small.write(std::vector<std::uint8_t>(10));
  EXPECT_THROW(small.finish(), std::system_error);
  Output large(::open("/dev/full", O_WRONLY));
  EXPECT_THROW(large.write(std::vector<std::uint8_t>(1 << 20)), std::system_error);
}

TEST(PictureFile, IsToldByContentAndReadWhole) {
  const Folder folder;
  std::vector<std::uint8_t> long_file(300'001, 0x55);
  folder.add("other", long_file);
  EXPECT_FALSE(load_file(folder.root() / "other", true));
  EXPECT_EQ(load_file(folder.root() / "other", false), long_file);
  long_file[0] = 0xFF, long_file[1] = 0xD8;
  folder.add("picture.txt", long_file);
  EXPECT_EQ(load_file(folder.root() / "picture.txt", true), long_file);
  folder.add("empty.jpg", "");
  EXPECT_FALSE(load_file(folder.root() / "empty.jpg", true));
  EXPECT_THROW(load_file(folder.root() / "missing", true), std::system_error);
}

TEST(Pipeline, GivesTheSameForEveryNumberOfThreads) {
  const Folder folder;
  const auto files = add_pictures(folder, 23);
  const EncodeSettings settings = settings_for("1x1/b16/k4/q20@64");
  const auto alone = encode_all(folder.root(), settings, 1);
  ASSERT_EQ(alone.size(), files.size());
  for (int jobs : {2, 7}) {
    const auto together = encode_all(folder.root(), settings, jobs);
    ASSERT_EQ(together.size(), alone.size());
    for (std::size_t n = 0; n < alone.size(); ++n) {
      EXPECT_EQ(together[n].path, alone[n].path);
      EXPECT_EQ(together[n].value, alone[n].value);
    }
  }
  const auto expected = write_value(encode_file(files[0], settings.format, Limits{}, Interrupt{}), settings.level);
  EXPECT_EQ(alone[0].path, "100");
  EXPECT_EQ(alone[0].value, expected);
}

TEST(Pipeline, LeavesOutWhatItCannotRead) {
  const Folder folder;
  const auto files = add_pictures(folder, 3);
  folder.add("101-damaged", Bytes(files[1]).first(files[1].size() / 2));
  folder.add("101-empty.JPG", "");
  folder.add("101-notes", "no picture");
  folder.add("b/\xFFname", files[2]);
  EncodeSettings settings = settings_for("1x1/b8/k2/q50@32");
  const auto results = encode_all(folder.root(), settings, 2);
  ASSERT_EQ(results.size(), 7u);
  EXPECT_NE(results[1].failure, "");
  EXPECT_EQ(results[2].failure, "it does not begin like a JPEG, PNG or WebP file");
  EXPECT_TRUE(results[3].failure.empty() && results[3].value.empty());
  EXPECT_EQ(results[6].failure, "its name is not UTF-8");
  for (std::size_t n : {0u, 4u, 5u}) EXPECT_FALSE(results[n].value.empty()) << n;

  settings.limits.max_pixels = 100;
  const auto refused = encode_all(folder.root(), settings, 2);
  EXPECT_NE(refused[0].failure.find("--max-pixels"), std::string::npos) << refused[0].failure;
}

TEST(Pipeline, EndsEarlyWhenItIsLeft) {
  const Folder folder;
  add_pictures(folder, 40);
  FolderWalk walk(folder.root());
  {
    Pipeline pipeline(walk, settings_for("1x1/b8/k8/q20"), 2);
    EXPECT_EQ(pipeline.next()->path, "100");
  }
  EXPECT_TRUE(walk.next()) << "far from all were taken";
}

TEST(Options, AreAsTheyAreTyped) {
  const Options plain = parse({"1x1/b32/k3/q50@256"});
  EXPECT_EQ(to_string(plain.settings.format), "1x1/b32/k3/q50@256");
  EXPECT_EQ(plain.settings.level, kDefaultCompressionLevel);
  EXPECT_EQ(plain.settings.limits.max_pixels, Limits{}.max_pixels);
  EXPECT_EQ(plain.folder, "");

  const Options all = parse({"1x1/b8/k1/q1", "--level", "19", "pictures", "--max-pixels=5", "--upright", "--jobs", "3"});
  EXPECT_EQ(all.settings.level, 19);
  EXPECT_EQ(all.settings.limits.max_pixels, 5);
  EXPECT_EQ(all.settings.orientation, Orientation::upright);
  EXPECT_EQ(all.jobs, 3);
  EXPECT_EQ(all.folder, "pictures");
  EXPECT_TRUE(parse({"--preview", "1x1/b8/k1/q1"}).preview);
  EXPECT_EQ(parse({"--help"}).action, Options::Action::help);
  EXPECT_EQ(parse({"--version"}).action, Options::Action::version);
}

TEST(Options, SayWhatIsWrong) {
  EXPECT_EQ(complaint_of({}), "a format is missing");
  EXPECT_EQ(complaint_of({"1x1/b8/k1/q1", "a", "b"}), "too many arguments");
  EXPECT_EQ(complaint_of({"1x1/b8/k1/q1", "--level", "20"}), "--level must be between 1 and 19, not \"20\"");
  EXPECT_EQ(complaint_of({"1x1/b8/k1/q1", "--jobs", "2x"}), "--jobs must be between 1 and 1024, not \"2x\"");
  EXPECT_EQ(complaint_of({"1x1/b8/k1/q1", "--jobs"}), "--jobs needs a value");
  EXPECT_EQ(complaint_of({"1x1/b8/k1/q1", "--wrong"}), "unknown option --wrong");
  EXPECT_EQ(complaint_of({"-xj", "1x1/b8/k1/q1"}), "unknown option -x");
  EXPECT_EQ(complaint_of({"--preview", "1x1/b8/k1/q1", "folder"}), "--preview shows one picture, not a folder");
  EXPECT_EQ(fault_of([] { parse({"1x1/b9/k1/q1"}); }), Fault::bad_format);
}

}  // namespace imagecalc
