#include "runner/engine/huge_pages.h"

#include <sys/mman.h>

#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // glibc has it from 2.37 on
#endif

namespace imagecalc {

namespace {

constexpr std::uintptr_t kHugePage = std::uintptr_t{2} << 20;

// Memory of the process that belongs to no file.
struct Mapping {
  std::uintptr_t begin = 0, end = 0;
  std::size_t resident = 0, huge = 0;  // bytes

  // Stacks and reserves are mostly empty: moving would fill them.
  bool is_full() const { return resident >= (end - begin) / 8 * 7; }
  bool is_huge() const { return huge + 2 * kHugePage > end - begin; }
};

bool read_kilobytes(const std::string& line, const char* name, std::size_t& bytes) {
  const std::string_view label(name);
  if (!line.starts_with(label)) return false;
  bytes = std::stoull(line.substr(label.size())) << 10;
  return true;
}

// Each mapping has a line with its addresses, and then lines "Name: value".
std::vector<Mapping> private_mappings() {
  std::vector<Mapping> mappings;
  bool wanted = false;
  std::ifstream smaps("/proc/self/smaps");
  for (std::string line; std::getline(smaps, line);) {
    Mapping found;
    char rights[5] = "";
    unsigned long file = 0;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %4s %*x %*x:%*x %lu", &found.begin, &found.end, rights, &file) == 4) {
      wanted = std::string_view(rights) == "rw-p" && file == 0;
      if (wanted) mappings.push_back(found);
    } else if (wanted && !read_kilobytes(line, "Rss:", mappings.back().resident)) {
      read_kilobytes(line, "AnonHugePages:", mappings.back().huge);
    }
  }
  return mappings;
}

// One at a time: the kernel stops at the first that it has no page for.
void collapse(const Mapping& mapping) {
  const std::uintptr_t first = (mapping.begin + kHugePage - 1) / kHugePage * kHugePage;
  for (std::uintptr_t page = first; page + kHugePage <= mapping.end; page += kHugePage) {
    ::madvise(reinterpret_cast<void*>(page), kHugePage, MADV_COLLAPSE);
  }
}

}  // namespace

void move_heaps_to_huge_pages() noexcept try {
  for (const Mapping& mapping : private_mappings()) {
    if (mapping.is_full() && !mapping.is_huge()) collapse(mapping);
  }
} catch (...) {  // no memory, no smaps: then they stay where they are
}

}  // namespace imagecalc
