// Where libjpeg keeps the coefficients of a whole picture: in memory that a thread keeps for its next one.
//
// libjpeg takes that memory from malloc for each picture and gives it back after it. In pictures of 256 x 256 that is enough
// for malloc to hand it to the kernel each time, and mapping its pages anew then takes longer than decoding the picture.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <utility>

#include <jpeglib.h>

namespace imagecalc::jpeg {

inline constexpr int kMaxComponents = 4;

class BlockMemory {
 public:
  BlockMemory() = default;
  BlockMemory(BlockMemory&& other) noexcept { swap(other); }
  BlockMemory& operator=(BlockMemory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~BlockMemory() {
    for (Area& area : areas_) std::free(area.blocks);
  }

  // Zeroed blocks for the next component, or null where there is no memory for them.
  JBLOCKROW take(std::size_t blocks) noexcept;

  // From now on components are counted from the first again.
  void rewind() noexcept { used_ = 0; }
  std::size_t size() const noexcept;

 private:
  struct Area {
    JBLOCKROW blocks = nullptr;  // from malloc, which takes less than new for what is zeroed
    std::size_t capacity = 0;
  };

  void swap(BlockMemory& other) noexcept {
    std::swap(areas_, other.areas_);
    std::swap(used_, other.used_);
  }

  Area areas_[kMaxComponents];
  int used_ = 0;
};

// What this thread has kept, to be given back by keep_blocks.
BlockMemory kept_blocks() noexcept;
void keep_blocks(BlockMemory memory) noexcept;

// One component's blocks. libjpeg knows it as a "virtual array".
struct BlockArray {
  JBLOCKROW* rows;
  JDIMENSION across, down;
};

inline const BlockArray& block_array(jvirt_barray_ptr array) { return *reinterpret_cast<BlockArray*>(array); }

// Makes libjpeg use the memory of the session that is info's client data.
void use_own_blocks(j_decompress_ptr info);

}  // namespace imagecalc::jpeg
