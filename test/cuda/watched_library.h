// The CUDA library, watched: every op must be computed by a kernel.
#pragma once

#include <cstdint>

#include "jobs/place.h"

namespace cones::test {

/// As jobs::place on a card, through the watched library. What EXPECT_ONLY_KERNELS counts begins here.
Placement watched_place(jobs::Precision precision);

/// Reports ops for which no kernel was started, or that there were no ops at all, or another number of copies to the host than
/// `results`, those that the caller has got: who computes on the host must first fetch what from. Counts anew from then on.
/// (Host code that reads device memory without a copy ends the program: test/emulator/emulated_device.h.)
void expect_only_kernels(const char* file, int line, std::int64_t results);

#define EXPECT_ONLY_KERNELS(results) ::cones::test::expect_only_kernels(__FILE__, __LINE__, results)

}  // namespace cones::test
