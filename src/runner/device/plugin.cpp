#include "runner/device/plugin.h"

#include <dlfcn.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "runner/device/torch_device.h"

namespace imagecalc {

namespace {

constexpr char kFile[] = "imagecalc-cuda.so";

// What the file says that it is; empty where it is no plug-in.
std::string build_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const std::size_t begin = bytes.find(IMAGECALC_PLUGIN_MARK);
  return begin == bytes.npos ? std::string() : std::string(bytes.c_str() + begin);
}

// Throws Error(no_device) that says why there is none.
Backends load(const std::string& path) {
  auto fail = [&](const std::string& why) { throw Error(Fault::no_device, path + " " + why); };
  const std::string build = build_of(path);
  if (build.empty()) fail("is not a plug-in of imagecalc");
  if (build != kPluginBuild) fail("is of another build: " + build + ", while imagecalc-runner wants " + kPluginBuild);
  // It stays: LibTorch keeps what the library's own libraries register with it.
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) fail(std::string("could not be loaded: ") + ::dlerror());
  auto* open = reinterpret_cast<OpenDevices*>(::dlsym(library, "imagecalc_open_devices"));
  if (!open) fail("has no devices");
  return open();
}

}  // namespace

std::string default_plugin_path() {
  std::error_code error;
  return (std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / kFile).string();
}

Devices open_devices(const std::string& path) try {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return Devices({}, "it was built without CUDA: there is no " + path);
  Devices::List list;
  for (auto& backend : load(path)) list.push_back(make_torch_device(std::move(backend)));
  if (list.empty()) return Devices({}, "no CUDA device was found");
  return Devices(std::move(list));
} catch (const std::exception& error) {
  return Devices({}, error.what());
}

}  // namespace imagecalc
