// The steps of a device, taken by the CPU: what the kernels are tested by where there is no GPU, and compared with where there is.
#pragma once

#include <vector>

#include "gpu/pack.h"
#include "gpu/steps.h"

namespace imagecalc::gpu {

// As launch_decode() and launch_place(), but done when they return. batch.table is not needed.
void decode_on_host(const DeviceBatch& batch, const BatchLayout& layout);
void place_on_host(const DeviceBatch& batch, const BatchLayout& layout, const Affine& affine, Order order, NumberKind kind,
                   void* tensors);

// Both. tensors: [images] of 3 x height x width numbers, in that order. Which images were refused.
std::vector<bool> run_on_host(const std::uint8_t* batch, const BatchLayout& layout, const Affine& affine, Order order,
                              NumberKind kind, void* tensors);

}  // namespace imagecalc::gpu
