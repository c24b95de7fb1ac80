// `imagecalc-runner --train`: the conversation with one design job.
#pragma once

namespace imagecalc {

// Answers requests from `in` on `out` until `in` ends.
void train(int in, int out);

}  // namespace imagecalc
