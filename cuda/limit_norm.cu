#include "limit_norm.h"

#include "values.cuh"

namespace cones::cuda {
namespace {

constexpr int kThreads = 256;

/// One block: the vector is short.
KERNEL void LAUNCH_BOUNDS(kThreads) limit_norm_kernel(const LimitNormArgs a) {
  double squares = 0;
  for (std::int64_t i = dev::thread(); i < a.count; i += kThreads) {
    const double v = static_cast<double>(a.values[i]);
    squares += v * v;
  }
  const double length = dev::square_root(block_sum(squares, reinterpret_cast<double*>(dev::shared())));
  if (!(length > a.limit)) return;
  const double factor = dev::divide(a.limit, length);
  for (std::int64_t i = dev::thread(); i < a.count; i += kThreads)
    a.values[i] = static_cast<float>(dev::multiply(static_cast<double>(a.values[i]), factor));
}

}  // namespace

int limit_norm(Stream* stream, const LimitNormArgs& args) {
  if (args.count <= 0 || !(args.limit > 0)) return kInvalid;
  return launch(stream, limit_norm_kernel, {1}, kThreads, kThreads / 32 * sizeof(double), args);
}

}  // namespace cones::cuda
