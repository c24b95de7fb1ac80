// imagecalc-encode: pictures to icimage values on cameras and ingestion machines, with neither Postgres nor LibTorch.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <thread>

#include "edge/copy_stream.h"
#include "edge/picture_file.h"
#include "edge/pipeline.h"

namespace {

using namespace imagecalc;

void complain(const std::string& text) { std::fprintf(stderr, "imagecalc-encode: %s\n", text.c_str()); }

// Counts what becomes of the files. On a terminal, a line that is written over shows it meanwhile.
class Progress {
 public:
  void add_picture(std::size_t bytes) {
    ++pictures_;
    bytes_ += bytes;
    const Clock::time_point now = Clock::now();
    if (!shown_ || now < next_) return;
    next_ = now + std::chrono::milliseconds(200);
    std::fprintf(stderr, "\r%lld pictures, %.1f MB", pictures_, bytes_ / 1e6);
  }
  void add_failure(const std::string& text) {
    ++failures_;
    clear();
    complain(text);
  }
  void add_other() { ++others_; }

  bool complete() const { return failures_ == 0; }

  void show_total() const {
    clear();
    std::fprintf(stderr, "imagecalc-encode: %lld pictures, %.1f MB", pictures_, bytes_ / 1e6);
    if (failures_ > 0) std::fprintf(stderr, "; left out: %lld", failures_);
    if (others_ > 0) std::fprintf(stderr, "; other files: %lld", others_);
    std::fputs("\n", stderr);
  }

 private:
  using Clock = std::chrono::steady_clock;

  // So that what is written next does not run into the line.
  void clear() const {
    if (shown_) std::fputs("\r\033[K", stderr);
  }

  const bool shown_ = ::isatty(STDERR_FILENO) != 0;
  long long pictures_ = 0, failures_ = 0, others_ = 0;
  double bytes_ = 0;
  Clock::time_point next_{};
};

int threads_for(const Options& options) {
  return options.jobs > 0 ? options.jobs : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

bool encode_picture(const Options& options, Output& output) {
  if (::isatty(STDIN_FILENO)) {
    throw Error(Fault::invalid_argument, "no picture is given", "Give one on standard input, or name a folder.");
  }
  const auto file = load_stream(STDIN_FILENO, false);
  const Interrupt never;
  output.write(options.preview ? encode_preview(*file, options.settings, never)
                               : encode_value(*file, options.settings, never));
  output.finish();
  return true;
}

// Whether every picture was encoded.
bool encode_folder(const Options& options, Output& output) {
  FolderWalk walk(options.folder);
  CopyStream stream(output);
  Pipeline pipeline(walk, options.settings, threads_for(options));
  Progress progress;
  while (const std::optional<Pipeline::Result> result = pipeline.next()) {
    if (!result->failure.empty()) {
      progress.add_failure(result->path + ": " + result->failure);
    } else if (result->value.empty()) {
      progress.add_other();
    } else {
      stream.write_row(result->path, result->value);
      progress.add_picture(result->value.size());
    }
  }
  stream.write_trailer();
  output.finish();
  progress.show_total();
  return progress.complete();
}

bool run(const Options& options) {
  if (::isatty(STDOUT_FILENO)) {
    throw Error(Fault::invalid_argument, "the output is binary and would go to the terminal", "Redirect standard output.");
  }
  std::signal(SIGPIPE, SIG_IGN);  // a reader that has gone is told as any other failure to write
  Output output(STDOUT_FILENO);
  return options.folder.empty() ? encode_picture(options, output) : encode_folder(options, output);
}

int print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  return std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  try {
    options = parse_options(argc, argv);
  } catch (const std::exception& error) {
    complain(explain(error));
    return 2;
  }
  if (options.action == Options::Action::help) return print(usage());
  if (options.action == Options::Action::version) return print("imagecalc-encode " IMAGECALC_VERSION "\n");
  try {
    return run(options) ? 0 : 1;
  } catch (const std::exception& error) {
    complain(explain(error));
    return 1;
  }
}
