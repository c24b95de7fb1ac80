#include "codec/cosines.h"

#include <array>
#include <bit>
#include <cmath>
#include <numbers>
#include <vector>

#include "format/format.h"

namespace imagecalc {
namespace {

struct Tables {
  std::vector<float> cosines, half_secants;
};

constexpr int kSmallest = 4;

// turn: cos(pi n / 512), once around; every angle of every size is one of those.
Tables make_tables(int size, const std::vector<double>& turn) {
  Tables tables;
  const std::size_t step = turn.size() / (4 * std::size_t(size));
  for (int frequency = 0; frequency < size; ++frequency) {
    for (int place = 0; place < size; ++place) {
      const std::size_t angle = std::size_t(2 * place + 1) * frequency * step % turn.size();
      tables.cosines.push_back(static_cast<float>(turn[angle]));
    }
  }
  for (int place = 0; place < size / 2; ++place) {
    tables.half_secants.push_back(static_cast<float>(0.5 / turn[std::size_t(2 * place + 1) * step]));
  }
  return tables;
}

const Tables& tables_of(int size) {
  static const auto all = [] {
    std::vector<double> turn(4 * kMaxBlock);
    for (std::size_t n = 0; n < turn.size(); ++n) turn[n] = std::cos(std::numbers::pi * n / (2 * kMaxBlock));
    std::array<Tables, std::countr_zero(unsigned{kMaxBlock / kSmallest}) + 1> tables;
    for (std::size_t n = 0; n < tables.size(); ++n) tables[n] = make_tables(kSmallest << n, turn);
    return tables;
  }();
  return all[std::countr_zero(static_cast<unsigned>(size / kSmallest))];
}

}  // namespace

const float* cosines(int size) { return tables_of(size).cosines.data(); }
const float* half_secants(int size) { return tables_of(size).half_secants.data(); }

}  // namespace imagecalc
