#include "add.h"

#include "values.cuh"

namespace cones::cuda {
namespace {

template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) add_kernel(AddArgs args) {
  sweep<kWidth>(args.count, [&]<int n>(std::int64_t i) {
    float a[n], b[n];
    load_values(static_cast<const T*>(args.a) + i, a);
    load_values(static_cast<const T*>(args.b) + i, b);
    UNROLL for (int k = 0; k < n; ++k) a[k] += b[k];
    store_values(static_cast<T*>(args.y) + i, a);
  });
}

}  // namespace

int add_forward(Stream* stream, const AddArgs& args) {
  if (args.count <= 0) return kInvalid;
  return with_type(args.type, [&](auto type) {
    return with_width(aligned16(args.a, args.b, args.y), [&](auto width) {
      return launch(stream, add_kernel<decltype(type), width.value>, sweep_grid(args.count, width.value), kSweepThreads, 0,
                    args);
    });
  });
}

}  // namespace cones::cuda
