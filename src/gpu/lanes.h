// One source for the CPU and the GPU: code that a warp's lanes run together is written for "lanes", and each lane's variables
// are PerLane. On a GPU the lanes are threads and a PerLane is a register; here they are the turns of a loop.
#pragma once

#include <cstdint>

// IMAGECALC_DEVICE: a function for both. IMAGECALC_LANES: one that uses Lanes, for whichever of the two is being compiled.
#ifdef __CUDACC__
#define IMAGECALC_DEVICE __host__ __device__
#define IMAGECALC_LANES __device__
#else
#define IMAGECALC_DEVICE
#define IMAGECALC_LANES
#endif

namespace imagecalc::gpu {

inline constexpr int kLanes = 32;

#ifndef __CUDACC__
// The lanes of a warp, played by one thread of the CPU.
struct Lanes {
  template <typename T>
  class PerLane {
   public:
    T& operator[](int lane) { return values_[lane]; }
    const T& operator[](int lane) const { return values_[lane]; }

   private:
    T values_[kLanes] = {};
  };

  // work(lane) for each lane. What one lane writes to memory the others see afterwards.
  template <typename Work>
  void each(const Work& work) const {
    for (int lane = 0; lane < kLanes; ++lane) work(lane);
  }

  // Bit l: whether lane l's is true.
  std::uint32_t ballot(const PerLane<bool>& is) const {
    std::uint32_t bits = 0;
    for (int lane = 0; lane < kLanes; ++lane) bits |= std::uint32_t{is[lane]} << lane;
    return bits;
  }

  // The sum of all lanes' values, in every lane.
  std::uint32_t sum(const PerLane<std::uint32_t>& values) const {
    std::uint32_t all = 0;
    for (int lane = 0; lane < kLanes; ++lane) all += values[lane];
    return all;
  }

  // For each lane the sum of the values of those before it.
  PerLane<std::uint32_t> sums_before(const PerLane<std::uint32_t>& values) const {
    PerLane<std::uint32_t> sums;
    for (int lane = 1; lane < kLanes; ++lane) sums[lane] = sums[lane - 1] + values[lane - 1];
    return sums;
  }
};

#else
// The threads of a warp, all of which must come here.
struct Lanes {
  template <typename T>
  class PerLane {
   public:
    __device__ T& operator[](int) { return value_; }
    __device__ const T& operator[](int) const { return value_; }

   private:
    T value_ = {};
  };

  template <typename Work>
  __device__ void each(const Work& work) const {
    work(static_cast<int>(threadIdx.x % kLanes));
    __syncwarp();
  }

  __device__ std::uint32_t ballot(const PerLane<bool>& is) const { return __ballot_sync(~0u, is[0]); }

  __device__ std::uint32_t sum(const PerLane<std::uint32_t>& values) const {
    std::uint32_t all = values[0];
    for (int step = kLanes / 2; step > 0; step /= 2) all += __shfl_xor_sync(~0u, all, step);
    return all;
  }

  __device__ PerLane<std::uint32_t> sums_before(const PerLane<std::uint32_t>& values) const {
    const int lane = static_cast<int>(threadIdx.x % kLanes);
    std::uint32_t through = values[0];
    for (int step = 1; step < kLanes; step *= 2) {
      const std::uint32_t other = __shfl_up_sync(~0u, through, step);
      if (lane >= step) through += other;
    }
    PerLane<std::uint32_t> sums;
    sums[0] = through - values[0];
    return sums;
  }
};
#endif

}  // namespace imagecalc::gpu
