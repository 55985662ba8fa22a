#include "device/cuda_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"

namespace cones {
namespace {

/// cudaErrorInsufficientDriver
constexpr int kNoDriver = 35;

const char* const kBuild =
    " Use device 'cpu', or a cones package with CUDA (Linux x64), or build cones where nvcc 12.8 or newer is installed.";

std::string library_path() {
  if (const char* named = std::getenv("CONES_CUDA_LIBRARY"); named != nullptr && *named != '\0') return named;
  Dl_info here = {};
  if (dladdr(reinterpret_cast<const void*>(&find_cuda), &here) == 0 || here.dli_fname == nullptr) return "cones_cuda.so";
  const std::string file = here.dli_fname;
  const std::size_t slash = file.rfind('/');
  return (slash == std::string::npos ? "./" : file.substr(0, slash + 1)) + "cones_cuda.so";
}

/// "13.0" of 13000
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string card_text(const cuda::DeviceInfo& device) {
  return std::string(device.name) + " (compute capability " + std::to_string(device.major) + "." +
         std::to_string(device.minor) + ")";
}

CudaSupport lacking(CudaSupport support, CudaLack lack, const std::string& reason) {
  support.lack = lack;
  support.reason = reason;
  return support;
}

}  // namespace

CudaSupport find_cuda() {
  const std::string path = library_path();
  // Local: the library's symbols are its own. Never unloaded: CUDA does not take that well.
  void* const opened = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (opened == nullptr) {
    const char* const why = dlerror();
    return lacking({}, CudaLack::library, std::string("The CUDA library of cones does not load: ") + (why ? why : path.c_str()) +
                                              "." + kBuild);
  }
  const auto entry = reinterpret_cast<decltype(&cones_cuda_library)>(dlsym(opened, "cones_cuda_library"));
  const cuda::Library* const library = entry != nullptr ? entry(cuda::kVersion) : nullptr;
  if (library == nullptr) return lacking({}, CudaLack::library, path + " is not of this version of cones." + kBuild);
  return find_cards(*library);
}

CudaSupport find_cards(const cuda::Library& library) {
  CudaSupport support;
  support.library = &library;
  int driver = 0, built = 0, count = 0;
  const int known = library.cuda_versions(&driver, &built);
  const int counted = library.device_count(&count);
  support.driver = driver;
  if (known == 0 && driver == 0)
    return lacking(support, CudaLack::driver, "No NVIDIA driver is installed. Use device 'cpu', or install one for CUDA " +
                                                  version_text(built) + " or newer.");
  if (counted == kNoDriver || (known == 0 && driver / 1000 < built / 1000))
    return lacking(support, CudaLack::driver, "The NVIDIA driver is for CUDA " + version_text(driver) + "; cones needs one for CUDA " +
                                                  version_text(built / 1000 * 1000) + ". Use device 'cpu', or update the driver.");
  if (counted != 0 || count == 0)
    return lacking(support, CudaLack::card, std::string("The NVIDIA driver finds no GPU") +
                                                (counted == 0 ? "" : std::string(" (CUDA says: ") + library.error_text(counted) + ")") +
                                                ". Use device 'cpu', or check nvidia-smi and CUDA_VISIBLE_DEVICES.");
  for (int i = 0; i < count; ++i) {
    cuda::DeviceInfo info;
    if (const int status = library.device_info(i, &info); status != 0)
      return lacking(support, CudaLack::card, std::string("A GPU does not answer (CUDA says: ") + library.error_text(status) +
                                                  "). Use device 'cpu', or check nvidia-smi.");
    support.devices.push_back(info);
  }
  if (std::ranges::none_of(support.devices, serves))
    return lacking(support, CudaLack::architecture, "This machine's GPU, " + card_text(support.devices[0]) +
                                                        ", is too old: cones needs compute capability 8.0 or newer. Use device 'cpu'.");
  return support;
}

bool serves(const cuda::DeviceInfo& device) { return device.major >= 8; }

int choose_card(const CudaSupport& support, int wanted) {
  if (support.lack != CudaLack::nothing) fail("CONES_DEVICE_UNAVAILABLE", support.reason);
  const auto& devices = support.devices;
  if (wanted < 0) return static_cast<int>(std::ranges::find_if(devices, serves) - devices.begin());
  if (static_cast<std::size_t>(wanted) >= devices.size())
    fail("CONES_DEVICE_UNAVAILABLE", "There is no GPU cuda:" + std::to_string(wanted) + ": this machine has " +
                                         std::to_string(devices.size()) + ", counted from 0.");
  const cuda::DeviceInfo& device = devices[static_cast<std::size_t>(wanted)];
  if (!serves(device))
    fail("CONES_DEVICE_UNAVAILABLE", "GPU cuda:" + std::to_string(wanted) + ", " + card_text(device) +
                                         ", is too old: cones needs compute capability 8.0 or newer.");
  return wanted;
}

}  // namespace cones
