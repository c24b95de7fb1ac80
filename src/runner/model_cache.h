// The models that the runner holds, by the hash of their bytes, shared by all connections.
#pragma once

#include <chrono>
#include <cstddef>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "runner/engine/engine.h"

namespace imagecalc {

class ModelCache {
 public:
  // The models least recently used go once all together exceed byte_cap by Model::memory; the last one stays. As models grow
  // while they are used, this is looked at again and again.
  ModelCache(Engine& engine, std::size_t byte_cap) : engine_(engine), byte_cap_(byte_cap) {}

  // Nothing where the model must be sent first. Waits where it is being loaded just now.
  std::shared_ptr<Model> find(const ModelHash& hash);

  // Loads it unless it is there; however many ask at once, one of them does the work and all get its Error.
  // Throws Error(bad_model), also where the bytes do not have that hash.
  void load(const ModelHash& hash, std::span<const std::uint8_t> bytes);

  struct Held {
    ModelHash hash;
    std::shared_ptr<Model> model;
    std::size_t memory;
  };
  // Those that are loaded, the one used last first.
  std::vector<Held> list();

 private:
  using Loading = std::shared_future<std::shared_ptr<Model>>;
  struct Entry {
    ModelHash hash;
    Loading model;

    // Nothing while it is being loaded.
    std::shared_ptr<Model> loaded() const;
  };
  using Entries = std::list<Entry>;  // most recently used first

  Entries::iterator touch(const ModelHash& hash);
  Entries make_room();
  static void release(Entries gone);
  void forget(const ModelHash& hash);

  Engine& engine_;
  const std::size_t byte_cap_;
  std::mutex mutex_;
  Entries entries_;
  std::map<ModelHash, Entries::iterator> index_;
  std::chrono::steady_clock::time_point next_look_{};
};

}  // namespace imagecalc
