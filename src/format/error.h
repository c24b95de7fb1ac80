// The one exception type of the plain C++ layers.
//
// It carries what a user needs to hear: what kind of fault it is, what was wrong, and what to do about it.
// src/pg maps each Fault to an SQLSTATE; the protocol carries a Fault from the runner back to the session.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace imagecalc {

enum class Fault : std::uint8_t {
  internal = 0,          // a bug of ours
  invalid_argument,      // an argument outside its range
  bad_format,            // a format's text or packed form is not one
  wrong_format,          // a well-formed value of another format than the one asked for
  bad_picture,           // a picture file that is damaged
  unsupported_picture,   // a file type or variant that is not read
  corrupt_value,         // an icimage value that contradicts itself
  limit_exceeded,        // larger than a limit allows; found before the memory was asked for
  bad_model,             // bytes that are no TorchScript model, or a model that does not fit its use
  out_of_memory,
  cancelled,             // the caller's Interrupt said stop
  protocol,              // a message that contradicts itself
  unavailable,           // the runner could not be reached, or died
  overloaded,            // the runner has more at hand than it may hold
  no_device,             // a device was asked for that is not there, or fails
  last = no_device
};

class Error : public std::runtime_error {
 public:
  Error(Fault fault, const std::string& message, std::string hint = {})
      : std::runtime_error(message), fault_(fault), hint_(std::move(hint)) {}

  Fault fault() const noexcept { return fault_; }
  const std::string& hint() const noexcept { return hint_; }

 private:
  Fault fault_;
  std::string hint_;
};

// Asked now and then by every loop that can take long; a loop that is told to stop throws Fault::cancelled.
class Interrupt {
 public:
  virtual ~Interrupt() = default;
  virtual bool requested() const noexcept { return false; }

  void check() const {
    if (requested()) throw Error(Fault::cancelled, "the operation was cancelled");
  }
};

}  // namespace imagecalc
