#include "jobs/place.h"

#include "base/error.h"
#include "cpu/backend.h"
#include "cuda/backend.h"
#include "device/cuda_library.h"

namespace cones::jobs {
namespace {

/// Of a card's memory, unless a limit is given: its driver wants some, too.
std::size_t most_of(std::size_t bytes) { return bytes / 10 * 9; }

/// So many small pictures go through the autoencoder together on a card.
constexpr int kCardLanes = 8;

std::shared_ptr<Device> host() { return std::shared_ptr<Device>(&host_device(), [](Device*) {}); }

Placement on_cpu(const PlaceOptions& options) {
  if (options.precision != Precision::automatic && options.precision != Precision::fp32)
    fail("CONES_OPTION_INVALID", "The CPU computes in fp32. Leave `precision` out, or use device 'cuda'.");
  auto backend = cpu_backend(options.threads);
  if (options.planning) backend = backend->planner();
  return {.device = host(),
          .backend = backend,
          .autoencoder = backend,
          .lanes = options.threads,
          .name = "cpu",
          .precision = "fp32",
          .memory_limit = options.memory_limit > 0 ? options.memory_limit : options.host_memory,
          .planning = options.planning};
}

/// `card` below 0 and no device: a card that is not there.
Placement with_cuda(const CudaSupport& support, int card, const PlaceOptions& options) {
  const Precision precision = options.precision;
  if (precision == Precision::fp32)
    fail("CONES_OPTION_INVALID", "GPUs compute in fp16 or bf16, with fp32 sums. Leave `precision` out, or use device 'cpu'.");
  const auto* const info = card >= 0 ? &support.devices[static_cast<std::size_t>(card)] : nullptr;
  const auto device = options.planning ? nullptr : CudaDevice::open(*support.library, card, info->name);
  const bool bf16 = precision == Precision::bf16;
  const auto backend = std::make_shared<Cuda>(*support.library, device, bf16 ? DType::bf16 : DType::f16);
  // Autoencoders were trained in wider types than fp16, and some overflow it.
  const auto autoencoder = bf16 ? backend : std::make_shared<Cuda>(*support.library, device, DType::bf16);
  std::size_t limit = options.memory_limit;
  if (limit == 0) {
    std::size_t memory = info ? static_cast<std::size_t>(info->memory) : SIZE_MAX;
    if (std::size_t all = 0; device) device->available(&memory, &all);
    limit = most_of(memory);
  }
  return {.device = device ? std::shared_ptr<Device>(device) : host(),
          .backend = backend,
          .autoencoder = autoencoder,
          .lanes = kCardLanes,
          .name = card >= 0 ? "cuda:" + std::to_string(card) : "cuda",
          .precision = bf16 ? "bf16" : "fp16",
          .memory_limit = limit,
          .planning = options.planning};
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
    return with_cuda(support, choose_card(support, -1), options);
  }
  const int wanted = card_of(options.device);
  const CudaSupport support = find_cuda();
  // A plan needs a card only where one is named.
  const bool there = support.lack == CudaLack::nothing || support.library == nullptr || wanted >= 0;
  return with_cuda(support, options.planning && !there ? -1 : choose_card(support, wanted), options);
}

std::vector<PlaceOptions> places(const PlaceOptions& options, std::string* note) {
  if (options.device != "auto") return {options};
  std::vector<PlaceOptions> choices;
  const auto add = [&](const std::string& device) { choices.emplace_back(options).device = device; };
  if (options.precision != Precision::fp32) {
    const CudaSupport support = find_cuda();
    for (std::size_t i = 0; i < support.devices.size() && support.lack == CudaLack::nothing; ++i)
      if (serves(support.devices[i])) add("cuda:" + std::to_string(i));
    // Who has a driver has a card, as a rule, and wants to know why it is idle.
    if (support.lack == CudaLack::architecture || (support.lack == CudaLack::driver && support.driver > 0)) *note = support.reason;
  }
  add("cpu");
  return choices;
}

bool may_pass(const Error& error) {
  const std::string code = error.code();
  return code == "CONES_DEVICE_UNAVAILABLE" || code == "CONES_DEVICE_LOST" || code == "CONES_OUT_OF_MEMORY";
}

std::string not_used(const std::string& device, const Error& error) {
  // What the error says to do is about jobs.
  const bool full = std::string(error.code()) == "CONES_OUT_OF_MEMORY";
  return device + " is not used: " + (full ? "the weights do not fit into its memory, or into memoryLimit." : error.what());
}

std::vector<DeviceEntry> list_devices() {
  std::vector<DeviceEntry> entries{{"cpu", cpu_isa(), 0, ""}};
  const CudaSupport support = find_cuda();
  for (std::size_t i = 0; i < support.devices.size(); ++i) {
    const cuda::DeviceInfo& info = support.devices[i];
    entries.push_back({"cuda:" + std::to_string(i), info.name, static_cast<std::size_t>(info.memory),
                       !serves(info) ? "Its compute capability is below 8.0." : support.lack == CudaLack::nothing ? "" : support.reason});
  }
  if (support.devices.empty()) entries.push_back({"cuda", "", 0, support.reason});
  return entries;
}

}  // namespace cones::jobs
