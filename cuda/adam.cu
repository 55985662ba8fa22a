#include "adam.h"

#include "values.cuh"

namespace cones::cuda {
namespace {

constexpr int kThreads = 256;

// Grid [count / kThreads]: a thread a value.
template <class T>
KERNEL void LAUNCH_BOUNDS(kThreads) adam_kernel(const GRID_CONSTANT AdamArgs a) {
  const std::int64_t i = static_cast<std::int64_t>(dev::block_x()) * kThreads + dev::thread();
  if (i >= a.count || (a.finite != nullptr && *a.finite == 0)) return;
  const T* const gradient = static_cast<const T*>(a.gradient);
  const double g = gradient == nullptr ? 0.0 : dev::multiply(static_cast<double>(dev::to_float(gradient[i])), a.factor);
  const double rest1 = dev::subtract(1.0, a.beta1), rest2 = dev::subtract(1.0, a.beta2);
  const auto m = static_cast<float>(
      dev::add(dev::multiply(a.beta1, static_cast<double>(a.first_moment[i])), dev::multiply(rest1, g)));
  const auto v = static_cast<float>(dev::add(dev::multiply(a.beta2, static_cast<double>(a.second_moment[i])),
                                             dev::multiply(dev::multiply(rest2, g), g)));
  const double scale =
      dev::add(dev::multiply(dev::square_root(static_cast<double>(v)), a.correction2), a.epsilon);
  const double move = dev::divide(dev::multiply(a.rate, static_cast<double>(m)), scale);
  a.first_moment[i] = m;
  a.second_moment[i] = v;
  a.values[i] = static_cast<float>(dev::subtract(dev::multiply(static_cast<double>(a.values[i]), a.kept), move));
}

}  // namespace

int adam(Stream* stream, const AdamArgs& args) {
  if (args.count <= 0) return kInvalid;
  return with_any_type(args.gradient_type, [&](auto type) {
    return launch(stream, adam_kernel<decltype(type)>, {divide_up(args.count, kThreads)}, kThreads, 0, args);
  });
}

}  // namespace cones::cuda
