#include "jobs/place.h"

#include "base/error.h"
#include "cpu/backend.h"
#include "cuda/backend.h"
#include "device/cuda_library.h"

namespace cones::jobs {
namespace {

/// So many small pictures go through the autoencoder together on a card.
constexpr int kCardLanes = 8;

Placement on_cpu(const PlaceOptions& options) {
  if (options.precision != Precision::automatic && options.precision != Precision::fp32)
    fail("CONES_OPTION_INVALID", "The CPU computes in fp32. Leave `precision` out, or use device 'cuda'.");
  const auto backend = cpu_backend(options.threads);
  return {.device = std::shared_ptr<Device>(&host_device(), [](Device*) {}),
          .backend = backend,
          .autoencoder = backend,
          .lanes = options.threads,
          .name = "cpu",
          .precision = "fp32"};
}

Placement on_card(const CudaSupport& support, int card, Precision precision) {
  if (precision == Precision::fp32)
    fail("CONES_OPTION_INVALID", "GPUs compute in fp16 or bf16, with fp32 sums. Leave `precision` out, or use device 'cpu'.");
  const auto device = std::make_shared<CudaDevice>(*support.library, card, support.devices[static_cast<std::size_t>(card)].name);
  const bool bf16 = precision == Precision::bf16;
  const auto backend = std::make_shared<Cuda>(*support.library, device, bf16 ? DType::bf16 : DType::f16);
  // Autoencoders were trained in wider types than fp16, and some overflow it.
  const auto autoencoder = bf16 ? backend : std::make_shared<Cuda>(*support.library, device, DType::bf16);
  return {.device = device,
          .backend = backend,
          .autoencoder = autoencoder,
          .lanes = kCardLanes,
          .name = "cuda:" + std::to_string(card),
          .precision = bf16 ? "bf16" : "fp16"};
}

/// N of "cuda:N", -1 of "cuda".
int card_of(const std::string& device) {
  if (device == "cuda") return -1;
  const std::string number = device.rfind("cuda:", 0) == 0 ? device.substr(5) : "";
  if (number.empty() || number.size() > 3 || number.find_first_not_of("0123456789") != std::string::npos)
    fail("CONES_OPTION_INVALID", "device must be 'auto', 'cpu', 'cuda' or 'cuda:N'.");
  return std::stoi(number);
}

}  // namespace

Placement place(const PlaceOptions& options) {
  if (options.device == "cpu") return on_cpu(options);
  if (options.device == "auto") {
    const CudaSupport support = find_cuda();
    if (support.lack != CudaLack::nothing || options.precision == Precision::fp32) return on_cpu(options);
    return on_card(support, choose_card(support, -1), options.precision);
  }
  const int wanted = card_of(options.device);
  const CudaSupport support = find_cuda();
  return on_card(support, choose_card(support, wanted), options.precision);
}

std::vector<DeviceEntry> list_devices() {
  std::vector<DeviceEntry> entries{{"cpu", cpu_isa(), 0, ""}};
  const CudaSupport support = find_cuda();
  for (std::size_t i = 0; i < support.devices.size(); ++i) {
    const cuda::DeviceInfo& info = support.devices[i];
    entries.push_back({"cuda:" + std::to_string(i), info.name, static_cast<std::size_t>(info.memory),
                       serves(info) ? "" : "Its compute capability is below 8.0."});
  }
  if (support.devices.empty()) entries.push_back({"cuda", "", 0, support.reason});
  return entries;
}

}  // namespace cones::jobs
