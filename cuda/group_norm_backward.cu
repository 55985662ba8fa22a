// Backward: with z = x̂ w + bias, dz = dy · silu'(z), x̂ = (x − mean) r and means over the group,
// dx = r (w dz − mean(w dz) − x̂ mean(w dz x̂)). z and dz are computed twice rather than stored.
#include "activations.cuh"
#include "group_norm.cuh"
#include "group_norm.h"
#include "norm_weight_sums.h"

namespace cones::cuda {
namespace {

/// f(where, dz [kWidth], x − mean [kWidth]) for every row of this thread.
template <class T, int kWidth, class F>
DEVICE void for_each_row(const RowBlocks& cut, const RowPlace& p, const GroupNormBackwardArgs& a,
                         const GroupNormChannels<kWidth>& channels, const F& f) {
  for (int r = p.lane; r < p.rows; r += cut.lanes) {
    const std::int64_t at = (p.first_row + r) * cut.channels + p.channel();
    float deviation[kWidth], dz[kWidth];
    load_values(static_cast<const T*>(a.x) + at, deviation);
    load_values(static_cast<const T*>(a.dy) + at, dz);
    UNROLL for (int k = 0; k < kWidth; ++k) {
      deviation[k] -= channels.mean[k];
      if (a.silu) dz[k] *= Silu::derivative(channels.z(k, deviation[k]));
    }
    f(at, dz, deviation);
  }
}

/// pairs [batch, chunks, channels, 2]: Σ dz · (x − mean) and Σ dz of every chunk and channel.
template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kRowThreads) group_norm_sums_kernel(RowBlocks cut, GroupNormBackwardArgs a, float* pairs) {
  const RowPlace p = RowPlace::here(cut, Width<kWidth>());
  float dot[kWidth] = {}, sum[kWidth] = {};
  if (p.active) {
    const int groups = static_cast<int>(a.groups);
    GroupNormChannels<kWidth> channels;
    channels.read(p, groups, cut.channels / groups, a.statistics, a.weight, a.bias);
    for_each_row<T>(cut, p, a, channels, [&](std::int64_t, const float(&dz)[kWidth], const float(&deviation)[kWidth]) {
      UNROLL for (int k = 0; k < kWidth; ++k) {
        dot[k] = dev::fma(dz[k], deviation[k], dot[k]);
        sum[k] += dz[k];
      }
    });
  }
  const LaneSums sums{reinterpret_cast<float*>(dev::shared()), cut.stripe};
  sums.put(p, dot, sum);
  dev::sync();
  store_lane_sums(cut, p, sums, pairs);
}

/// One block per sample and group. sums [batch, channels, 2]: Σ dz x̂ and Σ dz of every channel; factors [batch, groups, 2]:
/// of dx = r w dz + (x − mean) · first + second. A warp takes a channel, its lanes the chunks.
KERNEL void LAUNCH_BOUNDS(kRowThreads)
    group_norm_factors_kernel(RowBlocks cut, GroupNormBackwardArgs a, const float* pairs, float* sums, float* factors) {
  double* scratch = reinterpret_cast<double*>(dev::shared());
  const int groups = static_cast<int>(a.groups), group = dev::block_x() % groups, size = cut.channels / groups;
  const std::int64_t sample = dev::block_x() / groups;
  const int lane = dev::thread() % 32;
  const double r = static_cast<double>(a.statistics[std::int64_t{dev::block_x()} * 2 + 1]);
  double weighted_dot = 0, weighted_sum = 0;
  for (int c = dev::thread() / 32; c < size; c += kRowThreads / 32) {
    const std::int64_t channel = group * size + c;
    double dot = 0, sum = 0;
    for (int chunk = lane; chunk < cut.chunks; chunk += 32) {
      const float* pair = pairs + ((sample * cut.chunks + chunk) * cut.channels + channel) * 2;
      dot += static_cast<double>(pair[0]);
      sum += static_cast<double>(pair[1]);
    }
    dot = r * dev::warp_sum(dot);
    sum = dev::warp_sum(sum);
    if (lane != 0) continue;
    float* to = sums + (sample * cut.channels + channel) * 2;
    to[0] = static_cast<float>(dot);
    to[1] = static_cast<float>(sum);
    weighted_dot += static_cast<double>(a.weight[channel]) * dot;
    weighted_sum += static_cast<double>(a.weight[channel]) * sum;
  }
  const double values = static_cast<double>(cut.rows) * static_cast<double>(size);
  const double mean_dot = block_sum(weighted_dot, scratch) / values, mean_sum = block_sum(weighted_sum, scratch) / values;
  if (dev::thread() != 0) return;
  float* to = factors + std::int64_t{dev::block_x()} * 2;
  to[0] = static_cast<float>(-r * r * mean_dot);
  to[1] = static_cast<float>(-r * mean_sum);
}

template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kRowThreads) group_norm_backward_kernel(RowBlocks cut, GroupNormBackwardArgs a, const float* factors) {
  const RowPlace p = RowPlace::here(cut, Width<kWidth>());
  if (!p.active) return;
  const int groups = static_cast<int>(a.groups), size = cut.channels / groups;
  GroupNormChannels<kWidth> channels;
  channels.read(p, groups, size, a.statistics, a.weight, a.bias);
  float slope[kWidth], offset[kWidth];
  UNROLL for (int k = 0; k < kWidth; ++k) {
    const float* own = factors + (p.sample * groups + (p.channel() + k) / size) * 2;
    slope[k] = own[0];
    offset[k] = own[1];
  }
  for_each_row<T>(cut, p, a, channels, [&](std::int64_t at, const float(&dz)[kWidth], const float(&deviation)[kWidth]) {
    float d[kWidth];
    UNROLL for (int k = 0; k < kWidth; ++k)
      d[k] = dev::fma(dz[k], channels.scale[k], dev::fma(deviation[k], slope[k], offset[k]));
    store_values(static_cast<T*>(a.dx) + at, d);
  });
}

}  // namespace

int group_norm_backward(Stream* stream, const GroupNormBackwardArgs& args) {
  if (!group_norm_valid(args)) return kInvalid;
  const bool wide = args.channels % 8 == 0 && aligned16(args.dy, args.x, args.weight, args.bias, args.dx);
  return with_type(args.type, [&](auto type) {
    using T = decltype(type);
    return with_width(wide, [&](auto width) {
      const RowBlocks cut(args.rows, args.channels, width.value);
      float* pairs = static_cast<float*>(args.scratch);
      float* sums = pairs + group_norm_pairs(args.batch, args.rows, args.channels);
      float* factors = sums + args.batch * args.channels * 2;
      int status = launch(stream, group_norm_sums_kernel<T, width.value>, {cut.blocks(args.batch)}, kRowThreads,
                          cut.shared_bytes(), cut, args, pairs);
      if (status != 0) return status;
      status = launch(stream, group_norm_factors_kernel, {args.batch * args.groups}, kRowThreads,
                      kRowThreads / 32 * sizeof(double), cut, args, pairs, sums, factors);
      if (status == 0 && (args.dweight != nullptr || args.dbias != nullptr))
        status = norm_weight_sums(stream, sums, args.batch, args.channels, args.scale, args.dweight, args.dbias);
      if (status != 0 || args.dx == nullptr) return status;
      return launch(stream, group_norm_backward_kernel<T, width.value>, {cut.blocks(args.batch)}, kRowThreads, 0, cut, args,
                    factors);
    });
  });
}

}  // namespace cones::cuda
