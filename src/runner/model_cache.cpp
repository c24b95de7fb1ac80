#include "runner/model_cache.h"

#include <openssl/sha.h>

#include <chrono>

namespace imagecalc {

namespace {

// A session names the models that its user may read; bytes under another model's name would reach other users.
void check_hash(const ModelHash& hash, std::span<const std::uint8_t> bytes) {
  ModelHash actual;
  SHA256(bytes.data(), bytes.size(), actual.data());
  if (actual != hash) {
    throw Error(Fault::bad_model, "the model's bytes do not have the hash that is stored with them",
                "Import the model again.");
  }
}

}  // namespace

// The entry, moved to the front, or end. The mutex is held.
ModelCache::Entries::iterator ModelCache::touch(const ModelHash& hash) {
  auto found = index_.find(hash);
  if (found == index_.end()) return entries_.end();
  entries_.splice(entries_.begin(), entries_, found->second);
  return entries_.begin();
}

std::shared_ptr<Model> ModelCache::find(const ModelHash& hash) {
  Loading model;
  {
    std::lock_guard lock(mutex_);
    auto entry = touch(hash);
    if (entry == entries_.end()) return nullptr;
    model = entry->model;
  }
  return model.get();
}

void ModelCache::load(const ModelHash& hash, std::span<const std::uint8_t> bytes) {
  check_hash(hash, bytes);
  std::promise<std::shared_ptr<Model>> promise;
  Loading present;
  {
    std::lock_guard lock(mutex_);
    if (auto entry = touch(hash); entry != entries_.end()) {
      present = entry->model;
    } else {
      entries_.push_front({hash, promise.get_future().share()});
      index_[hash] = entries_.begin();
    }
  }
  if (present.valid()) {
    present.get();
    return;
  }
  try {
    std::shared_ptr<Model> model = engine_.load(bytes);
    finish(hash, bytes.size());
    promise.set_value(std::move(model));
  } catch (...) {
    forget(hash);
    promise.set_exception(std::current_exception());
    throw;
  }
}

std::vector<ModelCache::Held> ModelCache::list() {
  std::lock_guard lock(mutex_);
  std::vector<Held> held;
  for (const Entry& entry : entries_) {
    const bool ready = entry.model.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    if (ready && entry.memory > 0) held.push_back({entry.hash, entry.model.get(), entry.memory});
  }
  return held;
}

// Counts a model's memory and makes room for it.
void ModelCache::finish(const ModelHash& hash, std::size_t memory) {
  std::lock_guard lock(mutex_);
  auto entry = touch(hash);
  entry->memory = memory;
  memory_ += memory;
  for (auto last = entries_.end(); memory_ > byte_cap_ && --last != entries_.begin();) {
    if (last->memory == 0) continue;
    memory_ -= last->memory;
    index_.erase(last->hash);
    last = entries_.erase(last);
  }
}

void ModelCache::forget(const ModelHash& hash) {
  std::lock_guard lock(mutex_);
  auto found = index_.find(hash);
  entries_.erase(found->second);
  index_.erase(found);
}

}  // namespace imagecalc
