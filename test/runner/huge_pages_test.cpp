#include "runner/engine/huge_pages.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <stdexcept>
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

  static std::uint8_t sample(std::size_t i) { return static_cast<std::uint8_t>((i * 31 >> 7) + 1); }
  // Every step-th byte.
  void fill(std::size_t step) {
    for (std::size_t i = 0; i < kSize; i += step) begin()[i] = sample(i);
  }
  bool holds(std::size_t step) const {
    for (std::size_t i = 0; i < kSize; i += step) {
      if (begin()[i] != sample(i)) return false;
    }
    return true;
  }

  // Bytes of it that the kernel says this of.
  std::size_t read(const std::string& name) const {
    std::ostringstream address;
    address << std::hex << reinterpret_cast<std::uintptr_t>(begin()) << '-';
    std::ifstream smaps("/proc/self/smaps");
    bool here = false;
    for (std::string line; std::getline(smaps, line);) {
      here |= line.starts_with(address.str());
      if (here && line.starts_with(name + ":")) return std::stoull(line.substr(name.size() + 1)) << 10;
    }
    throw std::runtime_error("no " + name);
  }

 private:
  static std::uint8_t* map(int rights, std::size_t size) {
    return static_cast<std::uint8_t*>(::mmap(nullptr, size, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }

  std::uint8_t* room_;
};

// Linux has it from 6.1 on, where it was built with huge pages.
bool kernel_collapses() {
  Memory memory;
  memory.fill(1);
  const auto address = (reinterpret_cast<std::uintptr_t>(memory.begin()) + kHugePage - 1) / kHugePage * kHugePage;
  return ::madvise(reinterpret_cast<void*>(address), kHugePage, 25) == 0;
}

// What cannot be read, as in a container without /sys, allows nothing.
bool administrator_allows() {
  std::ifstream enabled("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string choices;
  return std::getline(enabled, choices) && choices.find("[never]") == choices.npos;
}

TEST(HugePages, HoldFullHeapsAsTheyWere) {
  Memory memory;
  memory.fill(1);
  const bool had = memory.read("AnonHugePages") > 0;
  move_heaps_to_huge_pages();
  EXPECT_TRUE(memory.holds(1));
  if (!administrator_allows()) {
    EXPECT_EQ(memory.read("AnonHugePages") > 0, had);
    return;
  }
  if (had || !kernel_collapses()) GTEST_SKIP() << "this kernel gives huge pages to everybody, or to nobody";
  EXPECT_GT(memory.read("AnonHugePages"), kSize / 2);
}

TEST(HugePages, LeaveHolesAsTheyWere) {
  Memory memory;
  ::madvise(memory.begin(), kSize, MADV_NOHUGEPAGE);  // while it is filled: every other page of 4 kB, or as large as they are
  const std::size_t step = 2 * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  memory.fill(step);
  ::madvise(memory.begin(), kSize, MADV_HUGEPAGE);
  move_heaps_to_huge_pages();
  EXPECT_TRUE(memory.holds(step));
  EXPECT_LT(memory.read("Rss"), kSize / 4 * 3) << "half of it was there, and the kernel may move some by itself";
}

}  // namespace
}  // namespace imagecalc
