#include "runner/train/trainer.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "codec/value.h"
#include "runner/channel.h"
#include "runner/train/storage.h"
#include "runner/train/training.h"

namespace imagecalc {

namespace {

void check(bool good, const char* message) {
  if (!good) throw Error(Fault::invalid_argument, message);
}

// How far the trainings are that run together.
class JointProgress {
 public:
  JointProgress(Channel& channel, const std::vector<Train>& requests) : channel_(channel), steps_(requests.size()) {
    for (const Train& request : requests) all_ += request.epochs;
  }
  void tell(std::size_t training, const Progress& progress) {
    std::lock_guard lock(mutex_);
    steps_[training] = progress.step;
    channel_.send(Progress{std::accumulate(steps_.begin(), steps_.end(), 0u), all_, progress.loss});
  }

 private:
  Channel& channel_;
  std::mutex mutex_;
  std::vector<std::uint32_t> steps_;
  std::uint32_t all_ = 0;
};

class Trainer {
 public:
  Trainer(int in, int out, std::string device_plugin)
      : channel_(in, out), hang_up_(in), device_plugin_(std::move(device_plugin)) {}

  void converse() {
    if (!channel_.greet()) return;
    while (auto request = channel_.receive()) {
      if (auto* training = std::get_if<Train>(&*request)) {
        take(std::move(*training));
      } else if (!together_.empty()) {
        throw Error(Fault::protocol, "another request than the training that was to follow");
      } else {
        channel_.send(answer(*request));
      }
    }
  }

 private:
  void take(Train&& request) {
    const bool more_follow = request.more_follow;
    together_.push_back(std::move(request));
    if (more_follow) return;
    for (const Message& reply : train_together(std::exchange(together_, {}))) channel_.send(reply);
  }

  // On each device, or the CPU, one after the other.
  std::vector<Message> train_together(const std::vector<Train>& requests) {
    std::vector<Message> replies(requests.size());
    std::vector<Device*> devices;
    try {
      check_set_up();
      devices = places(setup_->device);
    } catch (...) {
      std::fill(replies.begin(), replies.end(), current_failure());
      return replies;
    }
    JointProgress progress(channel_, requests);
    const auto at_once = static_cast<std::uint32_t>(std::min(devices.size(), requests.size()));
    const std::uint32_t threads = std::max(1u, setup_->threads / at_once);
    auto train_on = [&](std::size_t place) {
      for (std::size_t i = place; i < requests.size(); i += devices.size()) {
        replies[i] = train_one(requests[i], {devices[place], threads, at_once},
                               [&](const Progress& step) { progress.tell(i, step); });
      }
    };
    std::vector<std::jthread> others;
    for (std::size_t place = 1; place < at_once; ++place) others.emplace_back(train_on, place);
    train_on(0);
    others.clear();
    return replies;
  }

  // Where the CPU may take over from a device, it does.
  Message train_one(const Train& request, TrainingPlace place, const std::function<void(const Progress&)>& progress) {
    try {
      check(request.input.rgb || request.input.format.size > 0, "a format to train on needs a size");
      check(request.stem == 0 || (!request.input.rgb && request.stem == static_cast<std::uint32_t>(request.input.format.kept)),
            "a stem is as large as what a block keeps");
      return train_model(*setup_, *data_, request, place, progress, hang_up_);
    } catch (...) {
      const Failure failure = current_failure();
      const Fault fault = failure.fault;
      const bool is_devices = fault == Fault::bad_model || fault == Fault::no_device || fault == Fault::out_of_memory;
      if (!place.device || setup_->device.kind != DeviceChoice::Kind::automatic || !is_devices) return failure;
      log_line("training on the CPU, as it failed on " + place.device->name() + ": " + failure.message);
    }
    place.device = nullptr;
    return train_one(request, place, progress);
  }

  // What trainings run on; null: the CPU.
  std::vector<Device*> places(DeviceChoice choice) const {
    std::vector<Device*> found;
    if (devices_) {
      for (int place : devices_->allowed(choice)) found.push_back(&(*devices_)[place]);
    }
    if (found.empty()) found.push_back(nullptr);
    return found;
  }

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
    if (setup.device.kind != DeviceChoice::Kind::cpu && !devices_) devices_.reset(new Devices(open_devices(device_plugin_)));
    const TrainReady ready{static_cast<std::uint32_t>(places(setup.device).size())};
    check_trainable(setup);
    setup_ = std::move(setup);
    data_.emplace(*setup_);
    return ready;
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
  const std::string device_plugin_;
  std::unique_ptr<const Devices> devices_;  // none where a setup has not asked for them
  std::vector<Train> together_;  // asked for, to begin with those that follow
  std::optional<TrainSetup> setup_;
  std::optional<DataSet> data_;
};

}  // namespace

void train(int in, int out, const std::string& device_plugin) {
  try {
    Trainer(in, out, device_plugin).converse();
  } catch (const Error& error) {
    if (error.fault() != Fault::unavailable) throw;  // the other side went: that is how training is cancelled
  }
}

}  // namespace imagecalc
