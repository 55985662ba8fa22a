// Devices in the contract (typings/native.d.ts): what loadModel and loadClip say of them, and listDevices().
#pragma once

#include <napi.h>

#include "jobs/place.h"

namespace cones::addon {

/// `device`, `precision`, `threads`, `memoryLimit`, `hostMemory` and `planOnly` of `o`.
jobs::PlaceOptions place_options(const Napi::Object& o);

/// The addon's listDevices() → Promise: the first look for CUDA takes long.
Napi::Value list_devices(const Napi::CallbackInfo& info);

}  // namespace cones::addon
