// Processors beside the CPU that models run on.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gpu/pack.h"
#include "runner/engine/plan.h"

namespace imagecalc {

class Backend;
class FreezableModule;

// Values on their way to a device, which makes tensors of them when a plan of that device asks.
class SentImages {
 public:
  virtual ~SentImages() = default;

  // What became of them.
  struct Arrival {
    float transfer_us = 0, decode_us = 0;  // by the device's own clock
    // Those whose payload the device did not decode, ascending: it is damaged, or has more large coefficients than there is
    // room for (gpu/entropy.h). Their scores mean nothing.
    std::vector<std::uint32_t> refused;
  };
  // Waits for the device. Throws what went wrong there.
  virtual Arrival arrival() = 0;
};

// Several threads may use it at once.
class Device {
 public:
  virtual ~Device() = default;

  virtual std::string name() const = 0;         // cuda:0
  virtual std::string description() const = 0;  // what it is
  virtual bool has_failed() const = 0;          // for good: only another process can use it

  // Starts the copy, in one piece, and what follows it; the values are free when it returns. What crosses is at most as large as
  // the values' coefficients are in bytes. Throws as gpu::lay_out() does, Error(out_of_memory), Error(no_device).
  virtual std::shared_ptr<SentImages> send(std::span<const gpu::Sent> values, const Normalisation& normalisation) = 0;

  // The ways to run a module on it: the plain one first. Their plans take tensors, which they copy there, as well as what was
  // sent. Where its memory is too small for a batch they halve it; Error(out_of_memory) where one image is too much.
  virtual std::vector<Recipe> recipes(std::shared_ptr<FreezableModule> module) = 0;

  // For code of LibTorch that works on it by itself.
  virtual Backend& backend() = 0;
};

// The devices that this process has.
class Devices {
 public:
  using List = std::vector<std::unique_ptr<Device>>;

  explicit Devices(List list, std::string note = {}) : list_(std::move(list)), note_(std::move(note)) {}

  std::size_t count() const { return list_.size(); }
  Device& operator[](int place) const { return *list_.at(static_cast<std::size_t>(place)); }
  const std::string& note() const { return note_; }  // why there are none; empty where there are

  bool has_failed() const;  // one of them

  // Those that a choice allows; none: the CPU. automatic: none that has failed. Throws Error(no_device) where it asks for one that
  // is not there.
  std::vector<int> allowed(DeviceChoice choice) const;
  // One of them, or kCpu; they take turns.
  int pick(DeviceChoice choice) const;

 private:
  const List list_;
  const std::string note_;
  mutable std::atomic<unsigned> turn_ = 0;
};

// The devices of the plug-in in that file (plugin.h). Without it, or where it does not work here, there are none, and the note says
// why. LibTorch looks for CUDA once: call this before anything else of it.
Devices open_devices(const std::string& path);

// Beside this program.
std::string default_plugin_path();

}  // namespace imagecalc
