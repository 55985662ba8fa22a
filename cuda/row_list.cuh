// Reading a RowList in a kernel.
#pragma once

#include "launch.h"
#include "row_list.h"

namespace cones::cuda {

DEVICE std::int64_t row_at(const RowList& list, std::int64_t i) {
  return list.device != nullptr ? list.device[i] : list.values[i];
}

inline bool valid(const RowList& list) { return list.count > 0 && (list.device != nullptr || list.count <= 256); }

}  // namespace cones::cuda
