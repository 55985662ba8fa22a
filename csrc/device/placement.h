// Where a model lives: a device's memory, and what computes there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "device/backend.h"

namespace cones {

struct Placement {
  std::shared_ptr<Device> device;
  std::shared_ptr<const Backend> backend;
  /// The same for the autoencoder, whose activations may need another type.
  std::shared_ptr<const Backend> autoencoder;
  /// How many small pictures keep the device busy.
  int lanes = 1;
  std::string name;       // "cpu", "cuda:0"
  std::string precision;  // of activations: "fp32", "fp16", "bf16"
  std::size_t memory_limit = SIZE_MAX;  // bytes of the device, weights and activations together
  /// For plans alone: weights have sizes only, and nothing can be computed.
  bool planning = false;
};

}  // namespace cones
