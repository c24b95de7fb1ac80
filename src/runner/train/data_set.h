// The pictures of a training job, decoded once and kept small.
#pragma once

#include <vector>

#include "codec/picture.h"
#include "protocol/messages.h"

namespace imagecalc {

struct Sample {
  Picture picture;  // size x size, RGB or gray
  std::uint32_t label = 0;
  Blob file = {};  // what the picture came from; kept for validation alone, and only where it is not far larger than that
};

class DataSet {
 public:
  // What the setup says about pictures.
  explicit DataSet(const TrainSetup& setup)
      : size_(static_cast<int>(setup.size)),
        classes_(setup.classes),
        max_pixels_(setup.max_pixels),
        threads_(setup.threads) {}

  // Pictures that cannot be read are left out and reported. Throws Error(invalid_argument) for a label past the classes.
  AddReply add(const AddImages& request, const Interrupt& interrupt);

  const std::vector<Sample>& training() const { return training_; }
  const std::vector<Sample>& validation() const { return validation_; }

 private:
  int size_;
  std::uint32_t classes_;
  std::int64_t max_pixels_;
  std::uint32_t threads_;
  std::vector<Sample> training_, validation_;
};

// At most `count` samples, spread evenly.
std::vector<const Sample*> spread(const std::vector<Sample>& samples, std::size_t count);

}  // namespace imagecalc
