// CUDA's errors in the terms of this project.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "format/error.h"

namespace imagecalc::gpu {

// doing: what the call was for, as in "placing coefficients". Throws Error(out_of_memory), or Error(no_device) where the device
// or its driver does not answer as it should.
inline void check_cuda(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  const std::string message = std::string(doing) + " on the GPU failed: " + cudaGetErrorString(status);
  if (status == cudaErrorMemoryAllocation) {
    throw Error(Fault::out_of_memory, message, "Lower imagecalc.batch_size, or run fewer models on this GPU.");
  }
  throw Error(Fault::no_device, message, "Set imagecalc.device = 'cpu' to do without it.");
}

}  // namespace imagecalc::gpu
