#include "edge/folder_walk.h"

#include <algorithm>
#include <functional>
#include <system_error>
#include <utility>

#include "format/error.h"

namespace imagecalc {

namespace fs = std::filesystem;

FolderWalk::FolderWalk(fs::path root) : root_(std::move(root)) {
  const std::error_code error = enter("");
  if (error == std::errc::not_a_directory) {
    throw Error(Fault::invalid_argument, root_.string() + " is not a folder", "Give a single picture on standard input.");
  }
  if (error) {
    throw std::system_error(error, "could not read folder " + root_.string());
  }
}

std::optional<FolderWalk::Found> FolderWalk::next() {
  while (!levels_.empty()) {
    Level& level = levels_.back();
    if (level.names.empty()) {
      levels_.pop_back();
      continue;
    }
    const std::string path = level.prefix + level.names.back();
    level.names.pop_back();
    if (!path.ends_with('/')) return Found{path, {}};
    if (const std::error_code error = enter(path)) return Found{path, "could not read the folder: " + error.message()};
  }
  return std::nullopt;
}

// With its '/', a folder's name sorts as the paths in it do.
std::error_code FolderWalk::enter(const std::string& prefix) {
  std::error_code error;
  Level level{prefix, {}};
  for (fs::directory_iterator entry(root_ / prefix, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    std::error_code ignored;  // what cannot be looked at is neither a file nor a folder
    if (entry->symlink_status(ignored).type() == fs::file_type::directory) {
      level.names.push_back(entry->path().filename().string() + '/');
    } else if (entry->is_regular_file(ignored)) {
      level.names.push_back(entry->path().filename().string());
    }
  }
  std::sort(level.names.begin(), level.names.end(), std::greater<>());
  if (!error) levels_.push_back(std::move(level));
  return error;
}

}  // namespace imagecalc
