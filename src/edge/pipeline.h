// Encodes the pictures below a folder on several threads, and hands them out in the order of their paths.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "edge/folder_walk.h"
#include "edge/options.h"

namespace imagecalc {

class Pipeline {
 public:
  struct Result {
    std::string path;                 // below the folder
    std::vector<std::uint8_t> value;  // empty: a file of another kind, or it failed
    std::string failure;              // why there is no value, to be told to the user
  };

  Pipeline(FolderWalk& walk, const EncodeSettings& settings, int jobs);
  ~Pipeline();  // also before the end: threads are told to stop
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // Waits for the next one; nothing after the last.
  std::optional<Result> next();

 private:
  struct Slot {
    Result result;
    bool done = false;
  };

  class StopRequest : public Interrupt {
   public:
    bool requested() const noexcept override { return requested_; }
    void request() noexcept { requested_ = true; }

   private:
    std::atomic<bool> requested_ = false;
  };

  void work();
  Slot* take();
  void encode(Result& result) const;

  const EncodeSettings settings_;
  const std::size_t window_;  // so many results wait at most: a slow picture, or a slow reader, does not fill the memory
  StopRequest stop_;

  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  FolderWalk& walk_;
  std::deque<Slot> slots_;  // in order; taken at the back, handed out at the front
  bool exhausted_ = false;
  std::exception_ptr broken_;  // of the walk itself

  std::vector<std::jthread> threads_;
};

}  // namespace imagecalc
