#include "crop_rows.h"

#include "values.cuh"

namespace cones::cuda {
namespace {

// The whole grid takes the values of y one by one.
template <class T>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) crop_rows_kernel(const GRID_CONSTANT CropRowsArgs a) {
  const WindowList& w = a.windows;
  sweep<1>(a.pictures * w.regions * w.height * w.width * a.channels, [&]<int>(std::int64_t i) {
    const std::int64_t channel = i % a.channels, column = i / a.channels % w.width, line = i / a.channels / w.width;
    const std::int64_t row = line % w.height, region = line / w.height % w.regions, picture = line / w.height / w.regions;
    const std::int64_t from = (picture * a.height + w.top[region] + row) * a.width + w.left[region] + column;
    static_cast<T*>(a.y)[i] = static_cast<const T*>(a.x)[from * a.channels + channel];
  });
}

}  // namespace

int crop_rows(Stream* stream, const CropRowsArgs& args) {
  if (args.pictures <= 0 || args.channels <= 0 || (args.bytes != 2 && args.bytes != 4) || !within(args.windows, args.height, args.width))
    return kInvalid;
  const std::int64_t values = args.pictures * args.windows.regions * args.windows.height * args.windows.width * args.channels;
  const auto kernel = args.bytes == 2 ? crop_rows_kernel<std::uint16_t> : crop_rows_kernel<std::uint32_t>;
  return launch(stream, kernel, sweep_grid(values, 1), kSweepThreads, 0, args);
}

}  // namespace cones::cuda
