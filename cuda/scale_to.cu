#include "scale_to.h"

#include "values.cuh"

namespace cones::cuda {
namespace {

/// fp64 to fp32 "to odd": where it is inexact the last bit becomes 1. Rounding that to 16 bits gives what rounding v itself
/// gives, because a tie between two 16-bit values is never made or lost on the way.
DEVICE float to_odd(double v) {
  const float nearest = static_cast<float>(v);
  const double rest = v - static_cast<double>(nearest);
  const std::uint32_t bits = dev::bits_of(nearest);
  // Zero and infinity stay: v is then far below or above all ties.
  if (rest == 0 || (bits & 1) || nearest == 0 || !dev::is_finite(nearest)) return nearest;
  return dev::float_of((rest > 0) == (nearest > 0) ? bits + 1 : bits - 1);
}

template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) scale_to_kernel(ScaleToArgs args) {
  sweep<kWidth>(args.count, [&]<int n>(std::int64_t i) {
    float v[n];
    load_values(args.x + i, v);
    UNROLL for (int k = 0; k < n; ++k) {
      const double product = dev::multiply(args.factor, static_cast<double>(v[k]));
      v[k] = sizeof(T) == 4 ? static_cast<float>(product) : to_odd(product);
    }
    for (int copy = 0; copy < args.copies; ++copy) store_values(static_cast<T*>(args.y) + copy * args.count + i, v);
  });
}

}  // namespace

int scale_to(Stream* stream, const ScaleToArgs& args) {
  if (args.count <= 0 || args.copies <= 0) return kInvalid;
  const bool wide = aligned16(args.x, args.y) && (args.copies == 1 || args.count % 8 == 0);
  return with_any_type(args.type, [&](auto type) {
    return with_width(wide, [&](auto width) {
      return launch(stream, scale_to_kernel<decltype(type), width.value>, sweep_grid(args.count, width.value), kSweepThreads,
                    0, args);
    });
  });
}

}  // namespace cones::cuda
