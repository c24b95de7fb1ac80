// Measures what reading and classifying one image costs, on the real path: values out of a table, through the socket to the
// serving runner, decoded there and fed to the model.
#pragma once

#include <functional>
#include <map>

#include "pg/design_store.h"
#include "protocol/messages.h"

namespace imagecalc {

// Of the model as it is, or with a stem.
struct LatencyTable {
  std::vector<LatencySample> samples;          // one a tensor size that the model takes, at the working batch
  std::vector<LatencySample> singles;          // the same, of one image at a time
  std::map<TensorSize, std::string> refusals;  // what it said of the others
};

struct LatencyFindings {
  LatencyTable plain, stems;
  std::optional<Latency> rgb;                        // of the picture files themselves; nothing where the model refuses that size
  double mean_file_bytes = 0;
};

// files: a few pictures. mean_bytes: of a value, for each format of design_space(size). with_stem: the model with a stem of so many
// rows and columns; asked only where the design tries them.
LatencyFindings measure_latency(const Design& design, const Blob& model, const ModelHash& hash, const std::vector<Blob>& files,
                                const std::vector<float>& mean_bytes, const std::function<Blob(int kernel)>& with_stem,
                                const std::function<void(int step, int steps)>& on_step);

// Microseconds from a picture file to a stored value, in this process, as a conversion of the column takes them.
double time_encode(const std::vector<Blob>& files, const Format& format, int compression_level);

}  // namespace imagecalc
