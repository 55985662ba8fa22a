// Devices by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "device/placement.h"

namespace cones::jobs {

enum class Precision { automatic, fp32, fp16, bf16 };

struct PlaceOptions {
  std::string device = "cpu";  // "cpu", "cuda" (the first card that will do), "cuda:N"; "auto": a card where one will do, else the CPU
  Precision precision = Precision::automatic;  // fp32 on the CPU, fp16 on a card
  int threads = 1;                             // of the CPU
  std::size_t memory_limit = 0;                // bytes; 0: 90 % of what is free on a card, `host_memory` on the CPU
  std::size_t host_memory = SIZE_MAX;
  bool planning = false;                       // for plans alone: CUDA needs the library, but no card
};

/// CONES_DEVICE_UNAVAILABLE says what is missing: library, driver, card or architecture; CONES_OPTION_INVALID where the device
/// has no such precision.
Placement place(const PlaceOptions& options);

/// Where to try in turn: of "auto" every card that will do and then the CPU, else the device itself. `note` gets a sentence where a
/// card is there, but none will do.
std::vector<PlaceOptions> places(const PlaceOptions& options, std::string* note);
/// Whether an error of one place is a reason to try the next.
bool may_pass(const Error& error);
/// A sentence that says so.
std::string not_used(const std::string& device, const Error& error);

/// What `make` makes at the first of places() that takes it. `note` says which cards were there and did not, and why.
template <class Make>
auto load(const PlaceOptions& options, std::string* note, const Make& make) {
  std::vector<PlaceOptions> choices = places(options, note);
  const PlaceOptions last = choices.back();
  choices.pop_back();
  for (const PlaceOptions& choice : choices) {
    try {
      return make(place(choice));
    } catch (const Error& error) {
      if (!may_pass(error)) throw;
      *note += (note->empty() ? "" : " ") + not_used(choice.device, error);
    }
  }
  return make(place(last));
}

/// All there are, the CPU first; `reason`: why a card cannot be used, else empty.
struct DeviceEntry {
  std::string device;  // as PlaceOptions takes it
  std::string name;    // "NVIDIA H100 PCIe"; the CPU's instruction set
  std::size_t memory;  // bytes; 0: not known
  std::string reason;
};
std::vector<DeviceEntry> list_devices();

}  // namespace cones::jobs
