#include "runner/device/device.h"

#include <algorithm>

namespace imagecalc {

bool Devices::has_failed() const {
  return std::any_of(list_.begin(), list_.end(), [](const auto& device) { return device->has_failed(); });
}

int Devices::pick(DeviceChoice choice) const {
  if (choice.kind == DeviceChoice::Kind::cpu) return kCpu;
  const bool any = choice.number == DeviceChoice::kAny;
  const bool is_automatic = choice.kind == DeviceChoice::Kind::automatic;
  for (std::size_t i = 0; any && i < list_.size(); ++i) {
    const auto next = turn_++ % list_.size();
    if (!is_automatic || !list_[next]->has_failed()) return static_cast<int>(next);
  }
  if (is_automatic) return kCpu;
  for (std::size_t i = 0; i < list_.size(); ++i) {
    if (list_[i]->name() == to_string(choice)) return static_cast<int>(i);
  }
  const std::string why = list_.empty() ? note_ : "it has cuda:0 to cuda:" + std::to_string(list_.size() - 1);
  throw Error(Fault::no_device, "imagecalc-runner has no device \"" + to_string(choice) + "\": " + why,
              "Set imagecalc.device to 'cpu', or give the model another device with ic_set_device.");
}

}  // namespace imagecalc
