#include "runner/engine/huge_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
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

// Memory of the process to read and write that belongs to no file.
struct Mapping {
  std::uintptr_t begin = 0, end = 0;
};

std::vector<Mapping> private_mappings() {
  std::vector<Mapping> mappings;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    Mapping found;
    char rights[5] = "";
    unsigned long file = 0;
    const int fields = std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %4s %*x %*x:%*x %lu", &found.begin, &found.end, rights, &file);
    if (fields == 4 && std::string_view(rights) == "rw-p" && file == 0) mappings.push_back(found);
  }
  return mappings;
}

// An administrator has the last word.
bool are_allowed() {
  std::ifstream enabled("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string choices;
  return std::getline(enabled, choices) && choices.find("[never]") == choices.npos;
}

// Whether all of its small pages are there: moving would fill the holes of a heap, or a stack.
bool is_full(void* huge_page, std::vector<unsigned char>& residence) {
  residence.resize(kHugePage / static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE)));
  if (::mincore(huge_page, kHugePage, residence.data()) != 0) return false;
  return std::all_of(residence.begin(), residence.end(), [](unsigned char page) { return page & 1; });
}

}  // namespace

void move_heaps_to_huge_pages() noexcept try {
  if (!are_allowed()) return;
  std::vector<unsigned char> residence;
  for (const Mapping& mapping : private_mappings()) {
    const std::uintptr_t first = (mapping.begin + kHugePage - 1) / kHugePage * kHugePage;
    for (std::uintptr_t at = first; at + kHugePage <= mapping.end; at += kHugePage) {
      void* page = reinterpret_cast<void*>(at);
      if (is_full(page, residence)) ::madvise(page, kHugePage, MADV_COLLAPSE);
    }
  }
} catch (...) {  // no memory, no /proc: then they stay where they are
}

}  // namespace imagecalc
