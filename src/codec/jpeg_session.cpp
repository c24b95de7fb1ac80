#include "codec/jpeg_session.h"

#include <string>

#include <jerror.h>

#include "codec/readers.h"

namespace imagecalc::jpeg {
namespace {

ErrorManager& errors_of(j_common_ptr info) { return *reinterpret_cast<ErrorManager*>(info->err); }

Fault fault_of(int code) {
  switch (code) {
    case JERR_OUT_OF_MEMORY:
      return Fault::out_of_memory;
    case JERR_IMAGE_TOO_BIG:
      return Fault::limit_exceeded;
    case JERR_SOF_UNSUPPORTED:
    case JERR_BAD_PRECISION:
    case JERR_COMPONENT_COUNT:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_CCIR601_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_ARITH_NOTIMPL:
    case JERR_NOT_COMPILED:
      return Fault::unsupported_picture;
    default:
      return Fault::bad_picture;
  }
}

[[noreturn]] void on_error(j_common_ptr info) {
  ErrorManager& errors = errors_of(info);
  errors.failure.fault = fault_of(info->err->msg_code);
  errors.failure.own_message = false;
  info->err->format_message(info, errors.failure.message);
  std::longjmp(errors.failure.jump, 1);
}

// Level -1 is a warning: libjpeg found damage and would go on with gray. Only what cannot change the picture may pass.
void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_TOO_MUCH_DATA:
      return;
    case JWRN_JPEG_EOF:
      errors_of(info).ended_early = true;
      return;
    default:
      on_error(info);
  }
}

}  // namespace

void prepare(ErrorManager& errors) {
  jpeg_std_error(&errors.base);
  errors.base.error_exit = on_error;
  errors.base.emit_message = on_message;
  errors.base.output_message = [](j_common_ptr) {};
}

void give_up(ErrorManager& errors, Fault fault, const char* message) {
  errors.failure.fault = fault;
  errors.failure.own_message = true;
  std::snprintf(errors.failure.message, sizeof errors.failure.message, "%s", message);
  std::longjmp(errors.failure.jump, 1);
}

void raise(const Failure& failure, const char* action) {
  if (failure.fault == Fault::cancelled) throw Error(Fault::cancelled, failure.message);
  const char* hint = "";
  if (failure.fault == Fault::bad_picture) hint = kDamagedHint;
  if (failure.fault == Fault::unsupported_picture) hint = "Convert the picture to baseline or progressive 8-bit JPEG.";
  if (failure.fault == Fault::limit_exceeded) hint = failure.own_message ? kTooLargeHint : kTooWideHint;
  std::string message = failure.own_message ? std::string() : std::string(action) + ": ";
  throw Error(failure.fault, message.append(failure.message), hint);
}

}  // namespace imagecalc::jpeg
