#include "noised_rows.h"

#include <algorithm>

#include "values.cuh"
#include "rng.cuh"

namespace cones::cuda {
namespace {

constexpr int kThreads = 256, kRows = 64;

/// Rows travel as an argument of the launch (4 KiB at most): nothing to upload.
struct Rows {
  NoisedRow of[kRows];
};

// Grid [pixels·channels / kThreads, rows from `first` on, at most kRows]: a thread a value.
template <class T>
KERNEL void LAUNCH_BOUNDS(kThreads)
    noised_rows_kernel(const GRID_CONSTANT NoisedRowsArgs a, const GRID_CONSTANT Rows rows, std::int64_t first) {
  const std::int64_t size = a.pixels * a.channels;
  const std::int64_t i = static_cast<std::int64_t>(dev::block_x()) * kThreads + dev::thread();
  if (i >= size) return;
  const NoisedRow& row = rows.of[dev::block_y()];
  const float* const moment = a.moments + row.picture * 2 * size + i / a.channels * 2 * a.channels + i % a.channels;

  const double mean = static_cast<double>(moment[0]);
  const double stored = static_cast<double>(moment[a.channels]);
  // std::clamp's comparisons: what is not a number stays so.
  const double log_variance = stored < -30.0 ? -30.0 : 20.0 < stored ? 20.0 : stored;
  const std::uint64_t at = row.offset + static_cast<std::uint64_t>(i);
  const double posterior = static_cast<double>(normal_at(row.seed, at));
  const double epsilon = static_cast<double>(normal_at(row.seed, at + static_cast<std::uint64_t>(size)));

  const double deviation = dev::exponential(dev::multiply(0.5, log_variance));
  const double z = dev::multiply(a.latent_scale, dev::add(mean, dev::multiply(deviation, posterior)));
  const double x = dev::add(dev::multiply(row.signal, z), dev::multiply(row.sigma, epsilon));
  const double v = dev::subtract(dev::multiply(row.signal, epsilon), dev::multiply(row.sigma, z));
  const std::int64_t j = (first + dev::block_y()) * size + i;
  static_cast<T*>(a.latents)[j] = dev::from_float<T>(static_cast<float>(x));
  a.target[j] = static_cast<float>(a.v_prediction ? v : epsilon);
}

}  // namespace

int noised_rows(Stream* stream, const NoisedRowsArgs& args) {
  if (args.batch <= 0 || args.pixels <= 0 || args.channels <= 0) return kInvalid;
  return with_any_type(args.latents_type, [&](auto type) {
    for (std::int64_t first = 0; first < args.batch; first += kRows) {
      const std::int64_t count = std::min<std::int64_t>(kRows, args.batch - first);
      Rows rows = {};
      std::copy_n(args.rows + first, count, rows.of);
      const int status = launch(stream, noised_rows_kernel<decltype(type)>,
                                {divide_up(args.pixels * args.channels, kThreads), count}, kThreads, 0, args, rows, first);
      if (status != 0) return status;
    }
    return 0;
  });
}

}  // namespace cones::cuda
