#include "blend_rows.h"

#include "values.cuh"

namespace cones::cuda {
namespace {

// The whole grid takes the values of y one by one: regions are few, and so are the channels of latents.
KERNEL void LAUNCH_BOUNDS(kSweepThreads) blend_rows_kernel(const BlendRowsArgs a) {
  sweep<1>(a.pictures * a.positions * a.channels, [&]<int>(std::int64_t i) {
    const std::int64_t channel = i % a.channels, position = i / a.channels % a.positions, picture = i / a.channels / a.positions;
    double sum = 0;
    for (std::int64_t r = 0; r < a.regions; ++r) {
      const std::int64_t from = (picture * a.regions + r) * a.positions + position;
      sum = dev::add(sum, dev::multiply(static_cast<double>(a.weights[from]), static_cast<double>(a.x[from * a.channels + channel])));
    }
    a.y[i] = static_cast<float>(sum);
  });
}

}  // namespace

int blend_rows(Stream* stream, const BlendRowsArgs& args) {
  if (args.pictures <= 0 || args.regions <= 0 || args.positions <= 0 || args.channels <= 0) return kInvalid;
  return launch(stream, blend_rows_kernel, sweep_grid(args.pictures * args.positions * args.channels, 1), kSweepThreads, 0, args);
}

}  // namespace cones::cuda
