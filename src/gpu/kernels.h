// The steps of steps.h on a CUDA device. All of these are asynchronous and return at once. Errors are those of check_cuda()
// (device_error.h); what goes wrong on the device is thrown by a later call.
#pragma once

#include "gpu/pack.h"

struct CUstream_st;

namespace imagecalc::gpu {

using Stream = CUstream_st*;

// Payloads to planes. Which images were refused is in the workspace, at workspace_of(layout.shape).decoded.
void launch_decode(const DeviceBatch& batch, const BatchLayout& layout, Stream stream);

// Planes to the tensor.
void launch_place(const DeviceBatch& batch, const BatchLayout& layout, const Affine& affine, Order order, NumberKind kind,
                  void* tensors, Stream stream);

}  // namespace imagecalc::gpu
