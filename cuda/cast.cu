#include "cast.h"

#include "values.cuh"

namespace cones::cuda {
namespace {

template <class From, class To, int kWidth>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) cast_kernel(CastArgs args) {
  sweep<kWidth>(args.count, [&]<int n>(std::int64_t i) {
    float v[n];
    load_values(static_cast<const From*>(args.x) + i, v);
    UNROLL for (int k = 0; k < n; ++k) v[k] *= args.factor;
    store_values(static_cast<To*>(args.y) + i, v);
  });
}

}  // namespace

int cast(Stream* stream, const CastArgs& args) {
  if (args.count <= 0) return kInvalid;
  return with_any_type(args.from, [&](auto from) {
    return with_any_type(args.to, [&](auto to) {
      return with_width(aligned16(args.x, args.y), [&](auto width) {
        return launch(stream, cast_kernel<decltype(from), decltype(to), width.value>, sweep_grid(args.count, width.value),
                      kSweepThreads, 0, args);
      });
    });
  });
}

}  // namespace cones::cuda
