// Times of several tasks, taken in turns so that a machine that slows down slows all of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace imagecalc::bench {

struct Task {
  std::function<void(std::size_t)> run;  // on one of the pictures
  std::vector<double> us{};              // a picture, for each round
};

// Runs every task on all pictures, round after round.
void measure(std::vector<Task>& tasks, std::size_t pictures, int rounds);

// Median, and the least and the greatest.
struct Spread {
  double median, least, greatest;
};
Spread spread(std::vector<double> values);

// a/b, round by round.
Spread ratio(const Task& a, const Task& b);

// "12.3 (11.9..13.0)"
std::string to_text(const Spread& spread);

}  // namespace imagecalc::bench
