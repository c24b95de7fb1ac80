#include "runner/train/stored_samples.h"

#include <algorithm>

#include "codec/value.h"
#include "runner/train/parallel.h"

namespace imagecalc {

namespace {

constexpr std::size_t kPortion = 256;  // written before they are kept, one after the other

}  // namespace

StoredSamples::StoredSamples(const std::vector<Sample>& samples, const Format& format, std::uint64_t spool_memory,
                             const std::string& spool_folder, std::uint32_t threads, const Interrupt& interrupt)
    : spool_(spool_memory, spool_folder) {
  std::vector<Blob> portion;
  for (std::size_t first = 0; first < samples.size(); first += kPortion) {
    portion.resize(std::min(kPortion, samples.size() - first));
    parallel_for(portion.size(), threads, [&](std::size_t i) {
      portion[i] = write_value(encode(samples[first + i].picture(), format, interrupt), kMinCompressionLevel, interrupt);
    });
    for (Blob& value : portion) values_.push_back(spool_.keep(std::move(value)));
  }
}

Coefficients StoredSamples::read(std::size_t index, const Interrupt& interrupt) const {
  return read_value(values_[index].read(), Limits{}, interrupt);
}

}  // namespace imagecalc
