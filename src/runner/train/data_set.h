// The pictures of a training job, decoded once and kept small, in memory as far as that goes.
#pragma once

#include <vector>

#include "codec/picture.h"
#include "protocol/messages.h"
#include "runner/train/spool.h"

namespace imagecalc {

class Sample {
 public:
  // picture: size x size, RGB or gray. file: what it came from; kept for validation alone, and only where it is not far larger.
  Sample(Picture picture, std::uint32_t label, Kept file = {})
      : Sample(picture, std::move(picture.samples), label, std::move(file)) {}
  // shape: the picture, whose samples are the pixels.
  Sample(const Picture& shape, Kept pixels, std::uint32_t label, Kept file)
      : shape_{shape.width, shape.height, shape.channels, {}},
        pixels_(std::move(pixels)),
        file_(std::move(file)),
        label_(label) {}

  // Copies, which take a few microseconds: nothing beside a transform.
  Picture picture() const { return {shape_.width, shape_.height, shape_.channels, pixels_.read()}; }
  Blob file() const { return file_.read(); }
  bool has_file() const { return file_.size() > 0; }
  std::uint32_t label() const { return label_; }

 private:
  Picture shape_;  // without samples
  Kept pixels_, file_;
  std::uint32_t label_;
};

class DataSet {
 public:
  // What the setup says about pictures.
  explicit DataSet(const TrainSetup& setup)
      : size_(static_cast<int>(setup.size)),
        classes_(setup.classes),
        max_pixels_(setup.max_pixels),
        threads_(setup.threads),
        spool_(setup.memory, setup.spool_folder) {}

  // Pictures that cannot be read are left out and reported. Throws Error(invalid_argument) for a label past the classes,
  // Error(limit_exceeded) where neither memory nor disk has room.
  AddReply add(const AddImages& request, const Interrupt& interrupt);

  // What the pictures leave of the setup's.
  std::uint64_t memory_left() const { return spool_.memory_left(); }

  const std::vector<Sample>& training() const { return training_; }
  const std::vector<Sample>& validation() const { return validation_; }

 private:
  int size_;
  std::uint32_t classes_;
  std::int64_t max_pixels_;
  std::uint32_t threads_;
  Spool spool_;
  std::vector<Sample> training_, validation_;
};

// At most `count` samples, spread evenly.
std::vector<const Sample*> spread(const std::vector<Sample>& samples, std::size_t count);

}  // namespace imagecalc
