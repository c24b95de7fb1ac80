// What libjpeg may jump over.
//
// libjpeg leaves a function that fails by longjmp. So whatever lies between its failure and ours is a plain structure, every
// call into it goes through guarded(), and only the functions outside throw.
#pragma once

#include <csetjmp>
#include <cstdio>
#include <cstdlib>

#include <jpeglib.h>

#include "codec/jpeg_blocks.h"
#include "codec/picture.h"

namespace imagecalc::jpeg {

struct Failure {
  jmp_buf jump;
  Fault fault;
  bool own_message;  // message is ours, and not libjpeg's
  char message[JMSG_LENGTH_MAX];
};

// The first member is what libjpeg knows of it.
struct ErrorManager {
  jpeg_error_mgr base;
  Failure failure;
  bool ended_early;  // the file ends before its end marker
};

void prepare(ErrorManager& errors);

// For the callbacks and steps that libjpeg or guarded() runs.
[[noreturn]] void give_up(ErrorManager& errors, Fault fault, const char* message);

// Throws what a failed step left behind. action: what could not be done, for the message.
[[noreturn]] void raise(const Failure& failure, const char* action);

// Whether the step came to its end. Its locals must need no destructor.
template <typename Session>
bool guarded(Session& session, void (*step)(Session&)) {
  if (setjmp(session.errors.failure.jump) != 0) return false;
  step(session);
  return true;
}

struct ReadSession {
  ~ReadSession() {
    jpeg_destroy_decompress(&info);
    keep_blocks(std::move(memory));
  }

  jpeg_decompress_struct info;
  ErrorManager errors;
  jpeg_progress_mgr progress;
  Bytes file;
  const Limits* limits;
  const Interrupt* interrupt;
  boolean (*fill_input_buffer)(j_decompress_ptr);  // libjpeg's own
  bool padded;                                     // an arithmetic decoder has been given what it reads ahead
  BlockMemory memory;
  jvirt_barray_ptr* arrays;  // one a component, where coefficients were read
  std::uint8_t* out;         // the picture's samples
  std::uint8_t* line;        // one row as libjpeg gives it, where that differs (CMYK)
};

// Whether all coefficients have come in their full accuracy. Only a progressive file can lack some.
bool has_all_scans(const ReadSession& session);

// A step for the end of a read: gives up on a truncated file.
void check_complete(ReadSession& session);

}  // namespace imagecalc::jpeg
