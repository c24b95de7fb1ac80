// Which of the vector instruction sets the codec's loops were compiled for is used. The best that the CPU has, unless a test
// asks for another: all give the same bits.
#pragma once

#include <string>
#include <vector>

namespace imagecalc {

// The paths that this CPU can run, best first: "AVX2", "SSE4", ...
std::vector<std::string> cpu_paths();

// Uses one of them from now on, in all threads; "" goes back to the best. Throws Error(invalid_argument).
void force_cpu_path(const std::string& name);

}  // namespace imagecalc
