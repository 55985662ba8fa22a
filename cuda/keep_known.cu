#include "keep_known.h"

#include "values.cuh"

namespace cones::cuda {
namespace {

KERNEL void LAUNCH_BOUNDS(kSweepThreads) keep_known_kernel(KeepKnownArgs a) {
  sweep<1>(a.count, [&]<int n>(std::int64_t i) {
    const double known = dev::add(dev::multiply(a.image_share, static_cast<double>(a.image[i])),
                                  dev::multiply(a.noise_share, static_cast<double>(a.noise[i])));
    const double free = static_cast<double>(a.mask[i / a.channels]);
    a.y[i] = static_cast<float>(
        dev::add(dev::multiply(free, static_cast<double>(a.x[i])), dev::multiply(dev::subtract(1, free), known)));
  });
}

}  // namespace

int keep_known(Stream* stream, const KeepKnownArgs& args) {
  if (args.count <= 0 || args.channels <= 0 || args.count % args.channels != 0) return kInvalid;
  return launch(stream, keep_known_kernel, sweep_grid(args.count, 1), kSweepThreads, 0, args);
}

}  // namespace cones::cuda
