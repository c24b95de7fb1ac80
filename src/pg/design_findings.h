// What a design's trials so far tell of every format. Computed anew at each call from the candidates and the trials, so that it
// can never disagree with them.
#pragma once

#include "pg/design_store.h"

namespace imagecalc {

struct Findings {
  Design design;
  std::vector<CandidateRow> candidates;
  std::vector<TrialRow> trials;
  std::vector<std::optional<Prediction>> predictions;  // one a candidate
};

// Error(invalid_argument) where there is no such design, or it is not the user's.
Findings load_findings(std::int64_t design);

// Marks the candidates that no other beats in accuracy, latency and bytes at once.
std::vector<bool> frontier_of(const Findings& findings);

// What the same model costs on RGB that is decoded from the pictures' files.
struct Jpeg {
  double bytes = 0;
  Latency latency;
};
// Nothing where that was not measured.
std::optional<Jpeg> load_jpeg(std::int64_t design);

}  // namespace imagecalc
