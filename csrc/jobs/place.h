// Devices by name.
#pragma once

#include "device/placement.h"

namespace cones::jobs {

/// The CPU with `threads` threads.
Placement place_on_cpu(int threads);

}  // namespace cones::jobs
