// Devices by name.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "device/placement.h"

namespace cones::jobs {

enum class Precision { automatic, fp32, fp16, bf16 };

struct PlaceOptions {
  std::string device = "cpu";  // "cpu", "cuda" (the first card that will do), "cuda:N"; "auto": a card where one will do, else the CPU
  Precision precision = Precision::automatic;  // fp32 on the CPU, fp16 on a card
  int threads = 1;                             // of the CPU
};

/// CONES_DEVICE_UNAVAILABLE says what is missing: library, driver, card or architecture; CONES_OPTION_INVALID where the device
/// has no such precision.
Placement place(const PlaceOptions& options);

/// All there are, the CPU first; `reason`: why a card cannot be used, else empty.
struct DeviceEntry {
  std::string device;  // as PlaceOptions takes it
  std::string name;    // "NVIDIA H100 PCIe"; the CPU's instruction set
  std::size_t memory;  // bytes; 0: not known
  std::string reason;
};
std::vector<DeviceEntry> list_devices();

}  // namespace cones::jobs
