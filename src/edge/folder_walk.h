// The files below a folder, one after the other, in the order of their paths' bytes.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace imagecalc {

// Holds the names in the folders from the root to where it stands, never all paths. Links to files are followed, links to
// folders are not; what is neither a file nor a folder is skipped.
class FolderWalk {
 public:
  struct Found {
    std::string path;     // below the root, with '/'
    std::string failure;  // not empty: this is a folder that could not be read, and why
  };

  // Throws std::system_error where the root cannot be read, Error(invalid_argument) where it is no folder.
  explicit FolderWalk(std::filesystem::path root);

  // Nothing after the last one.
  std::optional<Found> next();

  const std::filesystem::path& root() const { return root_; }

 private:
  struct Level {
    std::string prefix;               // of the names' paths: empty, or ends with '/'
    std::vector<std::string> names;   // the last one comes first; folders end with '/'
  };

  // Goes down into the folder; what went wrong, or nothing.
  std::error_code enter(const std::string& prefix);

  std::filesystem::path root_;
  std::vector<Level> levels_;
};

}  // namespace imagecalc
