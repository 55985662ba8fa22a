#include "concat.h"

#include "units.cuh"
#include "values.cuh"

namespace cones::cuda {
namespace {

/// A row of `wide` is a row of `a` and one of `b`; widths in units.
struct Split {
  std::int64_t rows, a_units, b_units;
};

/// f(where in wide, whether in a, where in a or b) for every unit.
template <class F>
DEVICE void for_each_unit(const Split& s, const F& f) {
  const std::int64_t width = s.a_units + s.b_units;
  sweep<1>(s.rows * width, [&]<int>(std::int64_t i) {
    const std::int64_t row = i / width, column = i - row * width;
    if (column < s.a_units) {
      f(i, true, row * s.a_units + column);
    } else {
      f(i, false, row * s.b_units + column - s.a_units);
    }
  });
}

template <int kBytes>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) concat_kernel(Split split, const void* a, const void* b, void* wide) {
  for_each_unit(split, [&](std::int64_t i, bool in_a, std::int64_t j) {
    copy_unit<kBytes>(unit_at<kBytes>(wide, i), unit_at<kBytes>(in_a ? a : b, j));
  });
}

template <int kBytes>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) concat_backward_kernel(Split split, const void* wide, void* a, void* b) {
  for_each_unit(split, [&](std::int64_t i, bool in_a, std::int64_t j) {
    void* to = in_a ? a : b;
    if (to != nullptr) copy_unit<kBytes>(unit_at<kBytes>(to, j), unit_at<kBytes>(wide, i));
  });
}

/// f(unit, split, grid) for rows of 16-bit elements at these addresses.
template <class F>
int with_split(std::int64_t rows, std::int64_t a_channels, std::int64_t b_channels, std::uintptr_t addresses, const F& f) {
  if (rows <= 0 || a_channels <= 0 || b_channels <= 0) return kInvalid;
  return with_unit(addresses | bits_of_size(2 * a_channels) | bits_of_size(2 * b_channels), [&](auto unit) {
    const Split split{rows, 2 * a_channels / unit.bytes, 2 * b_channels / unit.bytes};
    return f(unit, split, sweep_grid(rows * (split.a_units + split.b_units), 1));
  });
}

}  // namespace

int concat_channels_forward(Stream* stream, const ConcatChannelsForwardArgs& args) {
  const std::uintptr_t addresses = bits_of_address(args.a) | bits_of_address(args.b) | bits_of_address(args.y);
  return with_split(args.rows, args.a_channels, args.b_channels, addresses, [&](auto unit, Split split, Grid grid) {
    return launch(stream, concat_kernel<unit.bytes>, grid, kSweepThreads, 0, split, args.a, args.b, args.y);
  });
}

int concat_channels_backward(Stream* stream, const ConcatChannelsBackwardArgs& args) {
  const std::uintptr_t addresses = bits_of_address(args.dy) | bits_of_address(args.da) | bits_of_address(args.db);
  return with_split(args.rows, args.a_channels, args.b_channels, addresses, [&](auto unit, Split split, Grid grid) {
    return launch(stream, concat_backward_kernel<unit.bytes>, grid, kSweepThreads, 0, split, args.dy, args.da, args.db);
  });
}

}  // namespace cones::cuda
