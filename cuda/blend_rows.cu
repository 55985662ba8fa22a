#include "blend_rows.h"

#include "values.cuh"

namespace cones::cuda {
namespace {

// The whole grid takes the values of y one by one: regions are few, and so are the channels of latents.
KERNEL void LAUNCH_BOUNDS(kSweepThreads) blend_rows_kernel(const GRID_CONSTANT BlendRowsArgs a) {
  const WindowList& w = a.windows;
  const std::int64_t positions = a.height * a.width;
  sweep<1>(a.pictures * positions * a.channels, [&]<int>(std::int64_t i) {
    const std::int64_t channel = i % a.channels, position = i / a.channels % positions, picture = i / a.channels / positions;
    double sum = 0;
    for (std::int64_t r = 0; r < w.regions; ++r) {
      const std::int64_t row = position / a.width - w.top[r], column = position % a.width - w.left[r], region = picture * w.regions + r;
      if (row < 0 || row >= w.height || column < 0 || column >= w.width) continue;
      const std::int64_t from = (region * w.height + row) * w.width + column;
      sum = dev::add(sum, dev::multiply(static_cast<double>(a.weights[region * positions + position]),
                                        static_cast<double>(a.x[from * a.channels + channel])));
    }
    a.y[i] = static_cast<float>(sum);
  });
}

}  // namespace

int blend_rows(Stream* stream, const BlendRowsArgs& args) {
  if (args.pictures <= 0 || args.channels <= 0 || !within(args.windows, args.height, args.width)) return kInvalid;
  return launch(stream, blend_rows_kernel, sweep_grid(args.pictures * args.height * args.width * args.channels, 1), kSweepThreads, 0, args);
}

}  // namespace cones::cuda
