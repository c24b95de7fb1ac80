#include "edge/pipeline.h"

#include <algorithm>
#include <cctype>
#include <exception>
#include <filesystem>
#include <utility>

#include "edge/copy_stream.h"
#include "edge/picture_file.h"

namespace imagecalc {

namespace {

constexpr std::size_t kWindowPerThread = 4;

// An empty file of such a name, say, is what is left of a picture when a card is full.
bool is_named_like_picture(const std::string& path) {
  std::string ending = std::filesystem::path(path).extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
  return ending == ".jpg" || ending == ".jpeg" || ending == ".png" || ending == ".webp";
}

}  // namespace

Pipeline::Pipeline(FolderWalk& walk, const EncodeSettings& settings, int jobs)
    : settings_(settings), window_(kWindowPerThread * static_cast<std::size_t>(jobs)), walk_(walk) {
  try {
    for (int n = 0; n < jobs; ++n) threads_.emplace_back([this] { work(); });
  } catch (const std::exception&) {  // fewer threads do, too
    if (threads_.empty()) throw;
  }
}

Pipeline::~Pipeline() {
  const std::lock_guard lock(mutex_);
  stop_.request();
  changed_.notify_all();
}

std::optional<Pipeline::Result> Pipeline::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return slots_.empty() ? exhausted_ : slots_.front().done; });
  if (slots_.empty()) {
    if (broken_) std::rethrow_exception(broken_);
    return std::nullopt;
  }
  Result result = std::move(slots_.front().result);
  slots_.pop_front();
  changed_.notify_all();
  return result;
}

void Pipeline::work() {
  while (Slot* slot = take()) {
    if (slot->result.failure.empty()) encode(slot->result);
    const std::lock_guard lock(mutex_);
    slot->done = true;
    changed_.notify_all();
  }
}

// The next file's slot, which stays where it is while others come and go; nullptr after the last file.
Pipeline::Slot* Pipeline::take() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return exhausted_ || stop_.requested() || slots_.size() < window_; });
  if (exhausted_ || stop_.requested()) return nullptr;
  try {
    if (std::optional<FolderWalk::Found> found = walk_.next()) {
      return &slots_.emplace_back(Slot{{std::move(found->path), {}, std::move(found->failure)}});
    }
  } catch (...) {
    broken_ = std::current_exception();
  }
  exhausted_ = true;
  changed_.notify_all();
  return nullptr;
}

void Pipeline::encode(Result& result) const {
  try {
    const auto file = load_file((walk_.root() / result.path).string(), true);
    if (!file) {
      if (is_named_like_picture(result.path)) result.failure = "it does not begin like a JPEG, PNG or WebP file";
      return;
    }
    if (!is_utf8_text(result.path)) throw Error(Fault::invalid_argument, "its name is not UTF-8");
    result.value = encode_value(*file, settings_, stop_);
  } catch (const std::exception& error) {
    result.failure = explain(error);
  }
}

}  // namespace imagecalc
