#include "runner/engine/huge_pages.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>

namespace imagecalc {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kSize = 32 * kHugePage;

// Memory that is a mapping of its own: what surrounds it cannot be read.
class Memory {
 public:
  Memory() : room_(map(PROT_NONE, kSize + 2 * kHugePage)) {
    ::mprotect(begin(), kSize, PROT_READ | PROT_WRITE);
  }
  ~Memory() { ::munmap(room_, kSize + 2 * kHugePage); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  std::uint8_t* begin() const { return room_ + kHugePage; }
  void fill(std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) begin()[i] = static_cast<std::uint8_t>(i * 31 >> 7);
  }
  bool holds(std::size_t bytes) const {
    for (std::size_t i = 0; i < bytes; ++i) {
      if (begin()[i] != static_cast<std::uint8_t>(i * 31 >> 7)) return false;
    }
    return true;
  }

 private:
  static std::uint8_t* map(int rights, std::size_t size) {
    return static_cast<std::uint8_t*>(::mmap(nullptr, size, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }

  std::uint8_t* room_;
};

// Kilobytes of the process.
std::size_t read_rollup(const std::string& name) {
  std::ifstream rollup("/proc/self/smaps_rollup");
  for (std::string word; rollup >> word;) {
    std::size_t value = 0;
    if (word == name + ":" && rollup >> value) return value;
  }
  return 0;
}

// Linux has it from 6.1 on, where it was built with huge pages.
bool kernel_collapses() {
  Memory memory;
  memory.fill(kSize);
  const auto address = (reinterpret_cast<std::uintptr_t>(memory.begin()) + kHugePage - 1) / kHugePage * kHugePage;
  return ::madvise(reinterpret_cast<void*>(address), kHugePage, 25) == 0;
}

TEST(HugePages, HoldFullHeapsAsTheyWere) {
  Memory memory;
  memory.fill(kSize);
  move_heaps_to_huge_pages();
  EXPECT_TRUE(memory.holds(kSize));
  if (!kernel_collapses()) GTEST_SKIP() << "this kernel has no huge pages to give";
  EXPECT_GE(read_rollup("AnonHugePages"), (kSize - 2 * kHugePage) / 1024);
}

TEST(HugePages, LeaveEmptyMemoryEmpty) {
  Memory memory;
  memory.fill(kSize / 2);
  const std::size_t before = read_rollup("Rss");
  move_heaps_to_huge_pages();
  EXPECT_TRUE(memory.holds(kSize / 2));
  EXPECT_LT(read_rollup("Rss"), before + kSize / 4 / 1024);
}

}  // namespace
}  // namespace imagecalc
