#include "runner/model_cache.h"

#include <malloc.h>
#include <openssl/sha.h>

#include <chrono>
#include <utility>

namespace imagecalc {

namespace {

// How often a model's use has the memory of all looked at.
constexpr std::chrono::milliseconds kLook{100};

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
  Entries gone;
  {
    std::lock_guard lock(mutex_);
    auto entry = touch(hash);
    if (entry == entries_.end()) return nullptr;
    model = entry->model;
    if (const auto now = std::chrono::steady_clock::now(); now >= next_look_) {
      next_look_ = now + kLook;
      gone = make_room();
    }
  }
  release(std::move(gone));
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
    promise.set_value(engine_.load(bytes));
  } catch (...) {
    forget(hash);
    promise.set_exception(std::current_exception());
    throw;
  }
  Entries gone;
  {
    std::lock_guard lock(mutex_);
    gone = make_room();
  }
  release(std::move(gone));
}

std::vector<ModelCache::Held> ModelCache::list() {
  std::lock_guard lock(mutex_);
  std::vector<Held> held;
  for (const Entry& entry : entries_) {
    if (auto model = entry.loaded()) held.push_back({entry.hash, model, model->memory()});
  }
  return held;
}

std::shared_ptr<Model> ModelCache::Entry::loaded() const {
  const bool ready = model.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  return ready ? model.get() : nullptr;
}

// The mutex is held. Takes out what has no room beside those used later; who is used last, and what is being loaded, stays.
ModelCache::Entries ModelCache::make_room() {
  Entries gone;
  std::size_t memory = 0;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto here = entry++;
    const auto model = here->loaded();
    if (!model) continue;
    memory += model->memory();
    if (memory <= byte_cap_ || here == entries_.begin()) continue;
    index_.erase(here->hash);
    gone.splice(gone.end(), entries_, here);
  }
  return gone;
}

// Without the lock, as it takes a while. What malloc is given back it keeps, unless it is asked.
void ModelCache::release(Entries gone) {
  if (gone.empty()) return;
  gone.clear();
  ::malloc_trim(0);
}

void ModelCache::forget(const ModelHash& hash) {
  std::lock_guard lock(mutex_);
  auto found = index_.find(hash);
  entries_.erase(found->second);
  index_.erase(found);
}

}  // namespace imagecalc
