// What a design's trials so far tell of every format, and who may know.
#pragma once

#include "pg/design_store.h"

namespace imagecalc {

// Error(invalid_argument) where there is no such design, or it is not the user's.
Design load_own_design(std::int64_t id);

struct Findings {
  Design design;
  std::vector<CandidateRow> candidates;
  std::vector<TrialRow> trials;
};

// The same error.
Findings load_findings(std::int64_t design);

// As imagecalc.candidate_text writes it.
std::string name_of(const Format& format, bool stem);

// Nothing while the design is not done.
const TrialRow* chosen_trial(const Findings& findings);

// Sets the candidates' predictions to what these trials tell, and marks the frontier.
void predict(const Design& design, const std::vector<TrialRow>& trials, std::vector<CandidateRow>& candidates);

// What the same model costs on RGB that is decoded from the pictures' files.
struct Jpeg {
  double bytes = 0;
  Latency latency;
};
// Nothing where that was not measured.
std::optional<Jpeg> load_jpeg(std::int64_t design);

}  // namespace imagecalc
