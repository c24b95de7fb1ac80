#include "runner/train/trainer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "codec/value.h"
#include "runner/channel.h"
#include "runner/train/storage.h"
#include "runner/train/training.h"

namespace imagecalc {

namespace {

void check(bool good, const char* message) {
  if (!good) throw Error(Fault::invalid_argument, message);
}

class Trainer {
 public:
  Trainer(int in, int out) : channel_(in, out), hang_up_(in) {}

  void converse() {
    if (!channel_.greet()) return;
    while (auto request = channel_.receive()) channel_.send(answer(*request));
  }

 private:
  Message answer(Message& request) try {
    return std::visit([&](auto& message) { return handle(message); }, request);
  } catch (...) {
    return current_failure();
  }

  Message handle(TrainSetup& setup) {
    check(setup.classes >= 1, "there are no classes");
    check(setup.size >= 1 && setup.size <= kMaxSize, "the size is out of range");
    check(setup.threads >= 1 && setup.threads <= 1024, "the number of threads is out of range");
    check(setup.batch_size >= 2 && setup.batch_size <= 65536, "batch_size is out of range");
    check(setup.learning_rate > 0, "learning_rate must be positive");
    check_trainable(setup);
    setup_ = std::move(setup);
    data_.emplace(*setup_);
    return Done{};
  }

  Message handle(const AddImages& request) {
    check_set_up();
    return data_->add(request, hang_up_);
  }

  Message handle(const MeasureStorage& request) {
    check_set_up();
    check(request.compression_level >= 1 && request.compression_level <= 19, "the compression level is out of range");
    const std::vector<Sample>& pictures = data_->training();
    check(!pictures.empty() && request.sample > 0, "there are no pictures to measure");
    return measure_storage(
        pictures, static_cast<int>(setup_->size), request, setup_->threads,
        [&](const Progress& progress) { channel_.send(progress); }, hang_up_);
  }

  Message handle(const Train& request) {
    check_set_up();
    check(request.input.rgb || request.input.format.size > 0, "a format to train on needs a size");
    check(request.stem == 0 || (!request.input.rgb && request.stem == static_cast<std::uint32_t>(request.input.format.kept)),
          "a stem is as large as what a block keeps");
    return train_model(
        *setup_, *data_, request, [&](const Progress& progress) { channel_.send(progress); }, hang_up_);
  }

  Message handle(const MakeStem& request) {
    check_set_up();
    check(request.kernel >= 1 && request.kernel <= kMaxSize, "the stem is out of range");
    return StemReply{make_stem(setup_->model, request.kernel)};
  }

  template <typename Other>
  Message handle(const Other&) {
    return Failure{Fault::protocol, -1, "imagecalc-runner does not answer this request while training", {}};
  }

  void check_set_up() const {
    if (!data_) throw Error(Fault::protocol, "a training conversation begins with its setup");
  }

  Channel channel_;
  HangUp hang_up_;
  std::optional<TrainSetup> setup_;
  std::optional<DataSet> data_;
};

}  // namespace

void train(int in, int out) {
  try {
    Trainer(in, out).converse();
  } catch (const Error& error) {
    if (error.fault() != Fault::unavailable) throw;  // the other side went: that is how training is cancelled
  }
}

}  // namespace imagecalc
