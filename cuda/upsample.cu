#include "upsample.h"

#include "units.cuh"
#include "values.cuh"

namespace cones::cuda {
namespace {

constexpr std::int64_t kLimit = 1 << 22;

/// Which input position an output position reads, in one direction. In fp32, as PyTorch computes it, so that both round alike.
/// Up to kLimit positions rounding never passes the next one: a source is below `in`, and first_reader's guess never too high.
struct Axis {
  int in, out;
  float scale;  // in / out

  DEVICE int source(int i) const { return static_cast<int>(dev::multiply(static_cast<float>(i), scale)); }
  /// The first output position that reads input position i or a later one; `out` where none does.
  DEVICE int first_reader(int i) const {
    int r = static_cast<int>(static_cast<std::int64_t>(i) * out / in);
    while (r < out && source(r) < i) ++r;
    return r;
  }
};

Axis axis_of(std::int64_t in, std::int64_t out) {
  return {static_cast<int>(in), static_cast<int>(out), static_cast<float>(in) / static_cast<float>(out)};
}

/// grid.x: units of a row of y; grid.y: rows of y, of all pictures, folded. `units`: of a position's channels.
template <int kBytes>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) upsample_kernel(Axis vertical, Axis horizontal, std::int64_t rows, int units,
                                                         const void* x, void* y) {
  const std::int64_t at = std::int64_t{dev::block_x()} * kSweepThreads + dev::thread();
  const std::int64_t row_units = std::int64_t{horizontal.out} * units;
  if (at >= row_units) return;
  const int column = static_cast<int>(at / units), unit = static_cast<int>(at - std::int64_t{column} * units);
  const int from_column = horizontal.source(column);
  for (std::int64_t row = dev::block_y(); row < rows; row += dev::grid_y()) {
    const std::int64_t picture = row / vertical.out;
    const std::int64_t from_row = picture * vertical.in + vertical.source(static_cast<int>(row - picture * vertical.out));
    copy_unit<kBytes>(unit_at<kBytes>(y, row * row_units + at),
                      unit_at<kBytes>(x, (from_row * horizontal.in + from_column) * units + unit));
  }
}

/// The same over x: each thread sums what read its piece.
template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) upsample_backward_kernel(Axis vertical, Axis horizontal, std::int64_t rows, int channels,
                                                          const T* dy, T* dx) {
  const int pieces = channels / kWidth;
  const std::int64_t at = std::int64_t{dev::block_x()} * kSweepThreads + dev::thread();
  if (at >= std::int64_t{horizontal.in} * pieces) return;
  const int column = static_cast<int>(at / pieces), c = static_cast<int>(at - std::int64_t{column} * pieces) * kWidth;
  const int first_j = horizontal.first_reader(column), last_j = horizontal.first_reader(column + 1);
  for (std::int64_t row = dev::block_y(); row < rows; row += dev::grid_y()) {
    const std::int64_t picture = row / vertical.in;
    const int in_row = static_cast<int>(row - picture * vertical.in);
    const int first_i = vertical.first_reader(in_row), last_i = vertical.first_reader(in_row + 1);
    float sum[kWidth] = {};
    for (int i = first_i; i < last_i; ++i)
      for (int j = first_j; j < last_j; ++j) {
        float v[kWidth];
        load_values(dy + ((picture * vertical.out + i) * horizontal.out + j) * channels + c, v);
        UNROLL for (int k = 0; k < kWidth; ++k) sum[k] += v[k];
      }
    store_values(dx + (row * horizontal.in + column) * channels + c, sum);
  }
}

template <class Args>
bool valid(const Args& a) {
  const auto size = [](std::int64_t n) { return 0 < n && n <= kLimit; };
  return a.batch > 0 && size(a.height) && size(a.width) && size(a.channels) && size(a.out_height) && size(a.out_width);
}

}  // namespace

int upsample_nearest_forward(Stream* stream, const UpsampleNearestForwardArgs& args) {
  if (!valid(args) || args.type == Type::f32) return kInvalid;
  const std::int64_t rows = args.batch * args.out_height;
  return with_unit(bits_of_address(args.x) | bits_of_address(args.y) | bits_of_size(2 * args.channels), [&](auto unit) {
    const int units = static_cast<int>(2 * args.channels / unit.bytes);
    return launch(stream, upsample_kernel<unit.bytes>, row_grid(args.out_width * units, rows), kSweepThreads, 0,
                  axis_of(args.height, args.out_height), axis_of(args.width, args.out_width), rows, units, args.x, args.y);
  });
}

int upsample_nearest_backward(Stream* stream, const UpsampleNearestBackwardArgs& args) {
  if (!valid(args)) return kInvalid;
  const std::int64_t rows = args.batch * args.height;
  return with_type(args.type, [&](auto type) {
    using T = decltype(type);
    return with_width(args.channels % 8 == 0 && aligned16(args.dy, args.dx), [&](auto width) {
      return launch(stream, upsample_backward_kernel<T, width.value>,
                    row_grid(args.width * (args.channels / width.value), rows), kSweepThreads, 0,
                    axis_of(args.height, args.out_height), axis_of(args.width, args.out_width), rows,
                    static_cast<int>(args.channels), static_cast<const T*>(args.dy), static_cast<T*>(args.dx));
    });
  });
}

}  // namespace cones::cuda
