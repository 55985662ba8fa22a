#include "trained_delta.h"

#include "values.cuh"

namespace cones::cuda {
namespace {

template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) trained_delta_kernel(TrainedDeltaArgs args) {
  sweep<kWidth>(args.count, [&]<int n>(std::int64_t i) {
    float values[n], theta[n];
    load_values(args.values + i, values);
    load_values(static_cast<const T*>(args.theta) + i, theta);
    UNROLL for (int k = 0; k < n; ++k) values[k] -= theta[k];
    store_values(static_cast<T*>(args.delta) + i, values);
  });
}

}  // namespace

int trained_delta(Stream* stream, const TrainedDeltaArgs& args) {
  if (args.count <= 0) return kInvalid;
  return with_type(args.type, [&](auto type) {
    return with_width(aligned16(args.values, args.theta, args.delta), [&](auto width) {
      return launch(stream, trained_delta_kernel<decltype(type), width.value>, sweep_grid(args.count, width.value),
                    kSweepThreads, 0, args);
    });
  });
}

}  // namespace cones::cuda
