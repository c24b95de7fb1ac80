// The steps of a device, taken by the CPU: what the kernels are tested by where there is no GPU, and compared with where there is.
#pragma once

#include <vector>

#include "gpu/pack.h"
#include "gpu/steps.h"

namespace imagecalc::gpu {

// tensors: [images] of 3 x height x width numbers, in that order. Which images were refused.
template <typename Number>
std::vector<bool> run_on_host(const std::uint8_t* batch, const BatchLayout& layout, const Affine& affine, Order order,
                              Number* tensors);

extern template std::vector<bool> run_on_host(const std::uint8_t*, const BatchLayout&, const Affine&, Order, float*);
extern template std::vector<bool> run_on_host(const std::uint8_t*, const BatchLayout&, const Affine&, Order, Float16*);
extern template std::vector<bool> run_on_host(const std::uint8_t*, const BatchLayout&, const Affine&, Order, BFloat16*);

}  // namespace imagecalc::gpu
