#include "solver_step.h"

#include <algorithm>

#include "values.cuh"
#include "rng.cuh"

namespace cones::cuda {
namespace {

constexpr int kThreads = 256, kPictures = 64;

/// Seeds travel as an argument of the launch: nothing to upload.
struct Seeds {
  std::uint64_t of[kPictures];
};

// Grid [picture / kThreads, pictures from `first` on, at most kPictures]: a thread a value.
template <class T>
KERNEL void LAUNCH_BOUNDS(kThreads)
    solver_step_kernel(const GRID_CONSTANT SolverStepArgs a, const GRID_CONSTANT Seeds seeds, std::int64_t first) {
  const std::int64_t k = static_cast<std::int64_t>(dev::block_x()) * kThreads + dev::thread();
  if (k >= a.picture) return;
  const std::int64_t j = (first + dev::block_y()) * a.picture + k;
  const T* const output = static_cast<const T*>(a.output);

  const auto side = [&](int s) { return static_cast<double>(dev::to_float(output[s * a.batch * a.picture + j])); };
  double o = side(0);
  if (a.by_picture) {
    const double with = side(1);
    o = dev::add(dev::add(o, dev::multiply(a.image_guidance, dev::subtract(with, o))), dev::multiply(a.guidance, dev::subtract(side(2), with)));
  } else if (a.guided) {
    o = dev::add(o, dev::multiply(a.guidance, dev::subtract(side(1), o)));
  }
  const double old = static_cast<double>(a.latents[j]);
  const double m = dev::add(dev::multiply(a.prediction_from_x, old), dev::multiply(a.prediction_from_output, o));
  double value = dev::add(dev::multiply(a.x_from_x, old), dev::multiply(a.x_from_prediction, m));
  UNROLL
  for (int p = 0; p < 4; ++p)
    if (a.previous[p] != nullptr)
      value = dev::add(value, dev::multiply(a.x_from_previous[p], static_cast<double>(a.previous[p][j])));
  if (a.noise != 0) {
    const float z = normal_at(seeds.of[dev::block_y()], a.offset + static_cast<std::uint64_t>(k));
    value = dev::add(value, dev::multiply(a.noise, static_cast<double>(z)));
  }
  a.prediction[j] = static_cast<float>(m);
  a.next[j] = static_cast<float>(value);
}

}  // namespace

int solver_step(Stream* stream, const SolverStepArgs& args) {
  if (args.batch <= 0 || args.picture <= 0 || (args.noise != 0 && args.seeds == nullptr)) return kInvalid;
  return with_any_type(args.output_type, [&](auto type) {
    for (std::int64_t first = 0; first < args.batch; first += kPictures) {
      const std::int64_t pictures = std::min<std::int64_t>(kPictures, args.batch - first);
      Seeds seeds = {};
      if (args.noise != 0) std::copy_n(args.seeds + first, pictures, seeds.of);
      const int status = launch(stream, solver_step_kernel<decltype(type)>, {divide_up(args.picture, kThreads), pictures},
                                kThreads, 0, args, seeds, first);
      if (status != 0) return status;
    }
    return 0;
  });
}

}  // namespace cones::cuda
