#include "norm_weight_sums.h"

#include "launch.h"

namespace cones::cuda {
namespace {

constexpr int kSumColumns = 32, kSumLanes = 8;

/// A block has 32 channels; lane l of 8 adds rows l, l + 8, …, and the lanes are added in their order.
KERNEL void LAUNCH_BOUNDS(kSumColumns * kSumLanes) norm_weight_sums_kernel(const float* pairs, std::int64_t rows,
                                                                           std::int64_t channels, float scale, float* first,
                                                                           float* second) {
  double(*sums)[kSumColumns][2] = reinterpret_cast<double(*)[kSumColumns][2]>(dev::shared());
  const int column = dev::thread() % kSumColumns, lane = dev::thread() / kSumColumns;
  const std::int64_t channel = std::int64_t{dev::block_x()} * kSumColumns + column;
  double a = 0, b = 0;
  if (channel < channels)
    for (std::int64_t r = lane; r < rows; r += kSumLanes) {
      const float* pair = pairs + (r * channels + channel) * 2;
      a += static_cast<double>(pair[0]);
      b += static_cast<double>(pair[1]);
    }
  sums[lane][column][0] = a;
  sums[lane][column][1] = b;
  dev::sync();
  if (lane != 0 || channel >= channels) return;
  for (int l = 1; l < kSumLanes; ++l) {
    a += sums[l][column][0];
    b += sums[l][column][1];
  }
  if (first != nullptr) first[channel] = static_cast<float>(static_cast<double>(scale) * a);
  if (second != nullptr) second[channel] = static_cast<float>(static_cast<double>(scale) * b);
}

}  // namespace

int norm_weight_sums(Stream* stream, const float* pairs, std::int64_t rows, std::int64_t channels, float scale, float* first,
                     float* second) {
  return launch(stream, norm_weight_sums_kernel, {divide_up(channels, kSumColumns)}, kSumColumns * kSumLanes,
                sizeof(double) * 2 * kSumColumns * kSumLanes, pairs, rows, channels, scale, first, second);
}

}  // namespace cones::cuda
