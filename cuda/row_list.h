// A list of row numbers for a kernel: by value where it is short, else in device memory.
#pragma once

#include "library.h"

namespace cones::cuda {

struct RowList {
  std::int64_t count;
  const std::int32_t* device;  // [count]; null: `values` has them
  std::int32_t values[256];    // where `device` is null: count ≤ 256
};

}  // namespace cones::cuda
