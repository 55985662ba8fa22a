#include "affine.h"

#include "values.cuh"

namespace cones::cuda {
namespace {

template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) affine_kernel(AffineArgs args) {
  sweep<kWidth>(args.count, [&]<int n>(std::int64_t i) {
    float v[n];
    load_values(static_cast<const T*>(args.x) + i, v);
    UNROLL for (int k = 0; k < n; ++k) v[k] = dev::fma(args.a, v[k], args.b);
    store_values(static_cast<T*>(args.y) + i, v);
  });
}

}  // namespace

int affine_forward(Stream* stream, const AffineArgs& args) {
  if (args.count <= 0) return kInvalid;
  return with_type(args.type, [&](auto type) {
    return with_width(aligned16(args.x, args.y), [&](auto width) {
      return launch(stream, affine_kernel<decltype(type), width.value>, sweep_grid(args.count, width.value), kSweepThreads,
                    0, args);
    });
  });
}

}  // namespace cones::cuda
