#include "runner/device/torch_device.h"

#include "runner/device/device_plans.h"
#include "runner/device/recordings.h"
#include "runner/device/sent_tensors.h"

namespace imagecalc {

namespace {

class TorchDevice : public Device {
 public:
  explicit TorchDevice(std::shared_ptr<Backend> backend) : backend_(std::move(backend)) {}

  std::string name() const override { return backend_->name(); }
  std::string description() const override { return backend_->description(); }
  bool has_failed() const override { return backend_->has_failed; }

  std::shared_ptr<SentImages> send(std::span<const gpu::Sent> values, const Normalisation& normalisation) override {
    return guard_memory(*backend_, *recordings_, [&] { return std::make_shared<SentTensors>(backend_, values, normalisation); });
  }

  std::vector<Recipe> recipes(std::shared_ptr<FreezableModule> module) override {
    return device_recipes(backend_, recordings_, std::move(module));
  }

  Backend& backend() override { return *backend_; }

 private:
  const std::shared_ptr<Backend> backend_;
  const std::shared_ptr<Recordings> recordings_ = std::make_shared<Recordings>();
};

}  // namespace

std::unique_ptr<Device> make_torch_device(std::shared_ptr<Backend> backend) {
  return std::make_unique<TorchDevice>(std::move(backend));
}

}  // namespace imagecalc
