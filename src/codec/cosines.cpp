#include "codec/cosines.h"

#include <bit>
#include <cmath>
#include <vector>

namespace imagecalc {
namespace {

struct Tables {
  std::vector<float> cosines, half_secants;
};

constexpr int kSmallest = 4;

constexpr std::size_t kQuarter = kMaxBlock;

// The quarter from 0 to pi / 2, halved again and again: cos m = (cos a + cos b) / (2 cos ((b - a) / 2)) for m midway between
// a and b. All terms are positive, so next to nothing is lost.
void make_quarter(Circle& circle) {
  circle[0] = 1;
  circle[kQuarter] = 0;
  double cosine = 0;  // of the step
  for (std::size_t step = kQuarter; step > 1; step /= 2) {
    cosine = std::sqrt((1 + cosine) / 2);
    for (std::size_t n = 0; n < kQuarter; n += step) {
      circle[n + step / 2] = (circle[n] + circle[n + step]) / (2 * cosine);
    }
  }
}

Circle make_circle() {
  Circle circle;
  make_quarter(circle);
  for (std::size_t n = 0; n < kQuarter; ++n) circle[2 * kQuarter - n] = -circle[n];
  for (std::size_t n = 1; n < 2 * kQuarter; ++n) circle[4 * kQuarter - n] = circle[n];
  return circle;
}

Tables make_tables(int size) {
  Tables tables;
  const std::size_t step = circle().size() / (4 * std::size_t(size));
  for (int frequency = 0; frequency < size; ++frequency) {
    for (int place = 0; place < size; ++place) {
      const std::size_t angle = std::size_t(2 * place + 1) * frequency * step % circle().size();
      tables.cosines.push_back(static_cast<float>(circle()[angle]));
    }
  }
  for (int place = 0; place < size / 2; ++place) {
    tables.half_secants.push_back(static_cast<float>(0.5 / circle()[std::size_t(2 * place + 1) * step]));
  }
  return tables;
}

const Tables& tables_of(int size) {
  static const auto all = [] {
    std::array<Tables, std::countr_zero(unsigned{kMaxBlock / kSmallest}) + 1> tables;
    for (std::size_t n = 0; n < tables.size(); ++n) tables[n] = make_tables(kSmallest << n);
    return tables;
  }();
  return all[std::countr_zero(static_cast<unsigned>(size / kSmallest))];
}

}  // namespace

const Circle& circle() {
  static const Circle circle = make_circle();
  return circle;
}

const float* cosines(int size) { return tables_of(size).cosines.data(); }
const float* half_secants(int size) { return tables_of(size).half_secants.data(); }

}  // namespace imagecalc
