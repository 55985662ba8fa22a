#include "gather_rows.h"

#include "row_list.cuh"
#include "units.cuh"
#include "values.cuh"

namespace cones::cuda {
namespace {

/// grid.x: units of a row; grid.y: rows of y, folded. `units`: of a row.
template <int kBytes>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) gather_rows_kernel(const GRID_CONSTANT GatherRowsArgs args, std::int64_t units) {
  const std::int64_t at = std::int64_t{dev::block_x()} * kSweepThreads + dev::thread();
  if (at >= units) return;
  for (std::int64_t r = dev::block_y(); r < args.indices.count; r += dev::grid_y())
    copy_unit<kBytes>(unit_at<kBytes>(args.y, r * units + at),
                      unit_at<kBytes>(args.x, row_at(args.indices, r) * units + at));
}

}  // namespace

int gather_rows(Stream* stream, const GatherRowsArgs& args) {
  if (!valid(args.indices) || args.row <= 0 || (args.element_bytes != 2 && args.element_bytes != 4)) return kInvalid;
  const std::int64_t bytes = args.row * args.element_bytes;
  return with_unit(bits_of_address(args.x) | bits_of_address(args.y) | bits_of_size(bytes), [&](auto unit) {
    return launch(stream, gather_rows_kernel<unit.bytes>, row_grid(bytes / unit.bytes, args.indices.count), kSweepThreads, 0,
                  args, bytes / unit.bytes);
  });
}

}  // namespace cones::cuda
