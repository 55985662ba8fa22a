#include "choose_rows.h"

#include "row_list.cuh"
#include "units.cuh"
#include "values.cuh"

namespace cones::cuda {
namespace {

/// grid.x: units of a row; grid.y: rows of y, folded. `units`: of a row.
template <int kBytes>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) choose_rows_kernel(const GRID_CONSTANT ChooseRowsForwardArgs args, std::int64_t units) {
  const std::int64_t at = std::int64_t{dev::block_x()} * kSweepThreads + dev::thread();
  if (at >= units) return;
  for (std::int64_t b = dev::block_y(); b < args.source.count; b += dev::grid_y()) {
    const std::int64_t source = row_at(args.source, b);
    copy_unit<kBytes>(unit_at<kBytes>(args.y, b * units + at),
                      source < 0 ? unit_at<kBytes>(args.rest, b * units + at) : unit_at<kBytes>(args.x, source * units + at));
  }
}

/// grid.x: pieces of a row; grid.y: rows of dx, folded.
template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) choose_rows_backward_kernel(const GRID_CONSTANT ChooseRowsBackwardArgs args) {
  const std::int64_t at = (std::int64_t{dev::block_x()} * kSweepThreads + dev::thread()) * kWidth;
  if (at >= args.row) return;
  const T* dy = static_cast<const T*>(args.dy) + at;
  T* dx = static_cast<T*>(args.dx) + at;
  for (std::int64_t row = dev::block_y(); row < args.x_rows; row += dev::grid_y()) {
    float sum[kWidth] = {};
    for (std::int64_t b = 0; b < args.source.count; ++b) {
      if (row_at(args.source, b) != row) continue;
      float v[kWidth];
      load_values(dy + b * args.row, v);
      UNROLL for (int k = 0; k < kWidth; ++k) sum[k] += v[k];
    }
    store_values(dx + row * args.row, sum);
  }
}

}  // namespace

int choose_rows_forward(Stream* stream, const ChooseRowsForwardArgs& args) {
  if (!valid(args.source) || args.row <= 0) return kInvalid;
  const std::uintptr_t addresses = bits_of_address(args.x) | bits_of_address(args.rest) | bits_of_address(args.y);
  return with_unit(addresses | bits_of_size(2 * args.row), [&](auto unit) {
    const std::int64_t units = 2 * args.row / unit.bytes;
    return launch(stream, choose_rows_kernel<unit.bytes>, row_grid(units, args.source.count), kSweepThreads, 0,
                  args, units);
  });
}

int choose_rows_backward(Stream* stream, const ChooseRowsBackwardArgs& args) {
  if (!valid(args.source) || args.row <= 0 || args.x_rows <= 0) return kInvalid;
  return with_type(args.type, [&](auto type) {
    return with_width(args.row % 8 == 0 && aligned16(args.dy, args.dx), [&](auto width) {
      return launch(stream, choose_rows_backward_kernel<decltype(type), width.value>,
                    row_grid(args.row / width.value, args.x_rows), kSweepThreads, 0, args);
    });
  });
}

}  // namespace cones::cuda
