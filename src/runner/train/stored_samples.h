// Samples as a format stores them: written once, read in every epoch. For trainings that do not crop.
#pragma once

#include "codec/transform.h"
#include "runner/train/data_set.h"

namespace imagecalc {

class StoredSamples {
 public:
  // spool_memory, spool_folder: as of a Spool.
  StoredSamples(const std::vector<Sample>& samples, const Format& format, std::uint64_t spool_memory,
                const std::string& spool_folder, std::uint32_t threads, const Interrupt& interrupt);

  // May be called by several threads at once.
  Coefficients read(std::size_t index, const Interrupt& interrupt) const;

 private:
  Spool spool_;
  std::vector<Kept> values_;
};

}  // namespace imagecalc
