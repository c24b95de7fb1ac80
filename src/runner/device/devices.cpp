#include "runner/device/device.h"

#include <algorithm>

namespace imagecalc {

bool Devices::has_failed() const {
  return std::any_of(list_.begin(), list_.end(), [](const auto& device) { return device->has_failed(); });
}

std::vector<int> Devices::allowed(DeviceChoice choice) const {
  if (choice.kind == DeviceChoice::Kind::cpu) return {};
  const bool is_automatic = choice.kind == DeviceChoice::Kind::automatic;
  std::vector<int> found;
  for (std::size_t i = 0; i < list_.size(); ++i) {
    const bool is_asked = choice.number == DeviceChoice::kAny || list_[i]->name() == to_string(choice);
    if (is_asked && !(is_automatic && list_[i]->has_failed())) found.push_back(static_cast<int>(i));
  }
  if (!found.empty() || is_automatic) return found;
  const std::string why = list_.empty() ? note_ : "it has cuda:0 to cuda:" + std::to_string(list_.size() - 1);
  throw Error(Fault::no_device, "imagecalc-runner has no device \"" + to_string(choice) + "\": " + why,
              "Set imagecalc.device to 'cpu', or give the model another device with ic_set_device.");
}

int Devices::pick(DeviceChoice choice) const {
  const std::vector<int> found = allowed(choice);
  return found.empty() ? kCpu : found[turn_++ % found.size()];
}

}  // namespace imagecalc
