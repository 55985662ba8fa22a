#include "mse_loss.h"

#include <algorithm>

#include "values.cuh"

namespace cones::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

struct Weights {
  double of[kMseRows];
};

// Grid [chunks of a row, rows from `first` on, at most kMseRows]. The sum of each chunk's squares into scratch [rows, chunks],
// in an order that depends on nothing, and the gradient.
template <class T, class G>
KERNEL void LAUNCH_BOUNDS(kThreads)
    mse_chunks_kernel(const GRID_CONSTANT MseLossArgs a, const GRID_CONSTANT Weights weights, std::int64_t first) {
  const std::int64_t begin = dev::block_x() * kMseChunk, row = (first + dev::block_y()) * a.size;
  const std::int64_t end = begin + kMseChunk < a.size ? begin + kMseChunk : a.size;
  const double twice = dev::multiply(weights.of[dev::block_y()], 2.0);
  double sum = 0;
  for (std::int64_t i = begin + dev::thread(); i < end; i += kThreads) {
    const double output = static_cast<double>(dev::to_float(static_cast<const T*>(a.output)[row + i]));
    const double difference = dev::subtract(output, static_cast<double>(a.target[row + i]));
    sum = dev::add(sum, dev::multiply(difference, difference));
    if (a.gradient != nullptr) {
      const double exact = dev::divide(dev::multiply(twice, difference), static_cast<double>(a.size));
      static_cast<G*>(a.gradient)[row + i] = dev::from_float<G>(static_cast<float>(dev::multiply(a.loss_scale, exact)));
    }
  }
  sum = block_sum(sum, reinterpret_cast<double*>(dev::shared()));
  if (dev::thread() == 0)
    static_cast<double*>(a.scratch)[static_cast<std::int64_t>(dev::block_y()) * dev::grid_x() + dev::block_x()] = sum;
}

// One block. Means of `rows` rows from `first` on, a warp a row, and their part of the loss, which the first rows begin.
KERNEL void LAUNCH_BOUNDS(kThreads)
    mse_rows_kernel(const GRID_CONSTANT MseLossArgs a, const GRID_CONSTANT Weights weights, std::int64_t first, int rows,
                    std::int64_t chunks) {
  double* const means = reinterpret_cast<double*>(dev::shared());  // [rows]
  const int warp = dev::thread() / 32, lane = dev::thread() % 32;
  for (int row = warp; row < rows; row += kWarps) {
    const double* const sums = static_cast<const double*>(a.scratch) + row * chunks;
    double sum = 0;
    for (std::int64_t i = lane; i < chunks; i += 32) sum = dev::add(sum, sums[i]);
    sum = dev::warp_sum(sum);
    if (lane == 0) means[row] = a.means[first + row] = dev::divide(sum, static_cast<double>(a.size));
  }
  dev::sync();
  if (dev::thread() != 0) return;
  double loss = first == 0 ? 0.0 : *a.loss;
  for (int row = 0; row < rows; ++row) loss = dev::add(loss, dev::multiply(weights.of[row], means[row]));
  *a.loss = loss;
  *a.finite = dev::is_finite(loss) ? 1 : 0;
}

template <class T, class G>
int run(Stream* stream, const MseLossArgs& args) {
  const std::int64_t chunks = divide_up(args.size, kMseChunk);
  for (std::int64_t first = 0; first < args.batch; first += kMseRows) {
    const std::int64_t rows = std::min(kMseRows, args.batch - first);
    Weights weights = {};
    std::copy_n(args.weights + first, rows, weights.of);
    int status = launch(stream, mse_chunks_kernel<T, G>, {chunks, rows}, kThreads, kWarps * sizeof(double), args, weights, first);
    if (status == 0)
      status = launch(stream, mse_rows_kernel, {1}, kThreads, kMseRows * sizeof(double), args, weights, first,
                      static_cast<int>(rows), chunks);
    if (status != 0) return status;
  }
  return 0;
}

}  // namespace

int mse_loss(Stream* stream, const MseLossArgs& args) {
  if (args.batch <= 0 || args.size <= 0) return kInvalid;
  return with_any_type(args.output_type, [&](auto output) {
    return with_any_type(args.gradient_type,
                         [&](auto gradient) { return run<decltype(output), decltype(gradient)>(stream, args); });
  });
}

}  // namespace cones::cuda
