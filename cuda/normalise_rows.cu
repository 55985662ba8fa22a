#include "normalise_rows.h"

#include "values.cuh"

namespace cones::cuda {
namespace {

constexpr int kNormaliseThreads = 128;

/// One block per row. Rows are few and short, so single values will do.
template <class T>
KERNEL void LAUNCH_BOUNDS(kNormaliseThreads) normalise_rows_kernel(NormaliseRowsArgs args) {
  const T* x = static_cast<const T*>(args.x) + dev::block_x() * args.channels;
  float* y = args.y + dev::block_x() * args.channels;
  double squares = 0;
  for (std::int64_t c = dev::thread(); c < args.channels; c += kNormaliseThreads) {
    const double v = static_cast<double>(dev::to_float(x[c]));
    squares += v * v;
  }
  const double length = dev::square_root(block_sum(squares, reinterpret_cast<double*>(dev::shared())));
  for (std::int64_t c = dev::thread(); c < args.channels; c += kNormaliseThreads)
    y[c] = static_cast<float>(dev::divide(static_cast<double>(dev::to_float(x[c])), length));
}

}  // namespace

int normalise_rows(Stream* stream, const NormaliseRowsArgs& args) {
  if (args.rows <= 0 || args.channels <= 0) return kInvalid;
  return with_any_type(args.type, [&](auto type) {
    return launch(stream, normalise_rows_kernel<decltype(type)>, {args.rows}, kNormaliseThreads,
                  kNormaliseThreads / 32 * sizeof(double), args);
  });
}

}  // namespace cones::cuda
