#include "philox_normal.h"

#include "launch.h"
#include "rng.cuh"

namespace cones::cuda {
namespace {

constexpr int kThreads = 256;

// Grid [count / kThreads]: a thread a value.
KERNEL void LAUNCH_BOUNDS(kThreads) philox_normal_kernel(const GRID_CONSTANT PhiloxNormalArgs a) {
  const std::int64_t i = static_cast<std::int64_t>(dev::block_x()) * kThreads + dev::thread();
  if (i < a.count) a.out[i] = normal_at(a.seed, a.offset + static_cast<std::uint64_t>(i));
}

}  // namespace

int philox_normal(Stream* stream, const PhiloxNormalArgs& args) {
  if (args.count <= 0) return kInvalid;
  return launch(stream, philox_normal_kernel, {divide_up(args.count, kThreads)}, kThreads, 0, args);
}

}  // namespace cones::cuda
