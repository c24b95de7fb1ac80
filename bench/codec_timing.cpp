#include "codec_timing.h"

#include <time.h>

#include <algorithm>
#include <cstdio>

namespace imagecalc::bench {
namespace {

constexpr double kLeastUs = 4000;  // of one measurement: far above what the clock and an interrupt cost

// What this thread has had of its core, so that other programs count as little as possible.
double now_us() {
  timespec now;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return 1e6 * static_cast<double>(now.tv_sec) + 1e-3 * static_cast<double>(now.tv_nsec);
}

double time_us(const Task& task, std::size_t pictures, int passes) {
  const double begin = now_us();
  for (int pass = 0; pass < passes; ++pass) {
    for (std::size_t n = 0; n < pictures; ++n) task.run(n);
  }
  return now_us() - begin;
}

}  // namespace

void measure(std::vector<Task>& tasks, std::size_t pictures, int rounds) {
  std::vector<int> passes;
  for (const Task& task : tasks) {
    time_us(task, pictures, 1);  // warms up
    passes.push_back(1 + static_cast<int>(kLeastUs / std::max(1.0, time_us(task, pictures, 1))));
  }
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t n = 0; n < tasks.size(); ++n) {
      tasks[n].us.push_back(time_us(tasks[n], pictures, passes[n]) / (static_cast<double>(pictures) * passes[n]));
    }
  }
}

Spread spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

Spread ratio(const Task& a, const Task& b) {
  std::vector<double> values;
  for (std::size_t n = 0; n < a.us.size(); ++n) values.push_back(a.us[n] / b.us[n]);
  return spread(values);
}

std::string to_text(const Spread& spread) {
  char text[80];
  const char* format = spread.median < 10    ? "%.2f (%.2f..%.2f)"
                       : spread.median < 100 ? "%.1f (%.1f..%.1f)"
                                             : "%.0f (%.0f..%.0f)";
  std::snprintf(text, sizeof text, format, spread.median, spread.least, spread.greatest);
  return text;
}

}  // namespace imagecalc::bench
