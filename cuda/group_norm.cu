// Forward: moments of every chunk of rows and channel, then of every group, then the normalisation itself.
#include "group_norm.h"

#include "activations.cuh"
#include "group_norm.cuh"

namespace cones::cuda {
namespace {

/// Mean of some values and Σ (value − mean)².
struct Moments {
  float count, mean, m2;

  /// Those of both sets together (Chan et al., 1979).
  DEVICE void merge(const Moments& other) {
    const float total = count + other.count, difference = other.mean - mean, share = other.count / total;
    mean = dev::fma(difference, share, mean);
    m2 += other.m2 + difference * (difference * count * share);  // 0 for the first set, however large its mean
    count = total;
  }
};

/// moments [batch, chunks, channels, 2]: mean and Σ (x − mean)² of every chunk and channel.
template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kRowThreads) group_norm_moments_kernel(RowBlocks cut, const T* x, float* moments) {
  const RowPlace p = RowPlace::here(cut, Width<kWidth>());
  float mean[kWidth] = {}, m2[kWidth] = {};
  if (p.active) {
    float count = 0;  // Welford's update, row by row
    for (int r = p.lane; r < p.rows; r += cut.lanes) {
      float v[kWidth];
      load_values(x + (p.first_row + r) * cut.channels + p.channel(), v);
      count += 1;
      const float share = 1.0f / count;
      UNROLL for (int k = 0; k < kWidth; ++k) {
        const float difference = v[k] - mean[k];
        mean[k] = dev::fma(difference, share, mean[k]);
        m2[k] = dev::fma(difference, v[k] - mean[k], m2[k]);
      }
    }
  }
  const LaneSums lanes{reinterpret_cast<float*>(dev::shared()), cut.stripe};
  lanes.put(p, mean, m2);
  dev::sync();

  const int local = dev::thread(), channel = p.first_channel + local;
  if (local >= cut.stripe || channel >= cut.channels) return;
  Moments all{0, 0, 0};
  for (int lane = 0; lane < cut.lanes && lane < p.rows; ++lane) {
    const int rows = (p.rows - lane + cut.lanes - 1) / cut.lanes;
    all.merge({static_cast<float>(rows), lanes.at(lane, 0, local), lanes.at(lane, 1, local)});
  }
  float* to = moments + ((p.sample * cut.chunks + p.chunk) * cut.channels + channel) * 2;
  to[0] = all.mean;
  to[1] = all.m2;
}

/// One block per sample and group: statistics [batch, groups, 2] from the moments of its chunks and channels, in fp64.
KERNEL void LAUNCH_BOUNDS(kRowThreads)
    group_norm_statistics_kernel(RowBlocks cut, int groups, const float* moments, float eps, float* statistics) {
  double* scratch = reinterpret_cast<double*>(dev::shared());
  const int group = dev::block_x() % groups, size = cut.channels / groups;
  const std::int64_t sample = dev::block_x() / groups;
  const float* own = moments + (sample * cut.chunks * cut.channels + group * size) * 2;
  const double values = static_cast<double>(cut.rows) * static_cast<double>(size);

  /// f(rows, mean, m2) for this thread's share of chunks and channels.
  const auto each = [&](const auto& f) {
    const std::int64_t count = std::int64_t{cut.chunks} * size;
    for (std::int64_t i = dev::thread(); i < count; i += kRowThreads) {
      const std::int64_t chunk = i / size, left = cut.rows - chunk * cut.chunk_rows;
      const float* pair = own + (chunk * cut.channels + i - chunk * size) * 2;
      f(static_cast<double>(left < cut.chunk_rows ? left : cut.chunk_rows), static_cast<double>(pair[0]),
        static_cast<double>(pair[1]));
    }
  };
  double sum = 0;
  each([&](double rows, double mean, double) { sum += rows * mean; });
  const double mean = block_sum(sum, scratch) / values;
  double m2 = 0;
  each([&](double rows, double chunk_mean, double chunk_m2) {
    m2 += chunk_m2 + rows * (chunk_mean - mean) * (chunk_mean - mean);
  });
  const double variance = block_sum(m2, scratch) / values;
  if (dev::thread() != 0) return;
  float* to = statistics + std::int64_t{dev::block_x()} * 2;
  to[0] = static_cast<float>(mean);
  // 1/√∞ = 0 would make an overflow look like the bias.
  to[1] = dev::is_finite(static_cast<float>(variance))
              ? static_cast<float>(dev::divide(1.0, dev::square_root(variance + static_cast<double>(eps))))
              : dev::float_of(0x7fffffffu);
}

template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kRowThreads) group_norm_kernel(RowBlocks cut, GroupNormForwardArgs a, const float* statistics) {
  const RowPlace p = RowPlace::here(cut, Width<kWidth>());
  if (!p.active) return;
  const int groups = static_cast<int>(a.groups);
  GroupNormChannels<kWidth> channels;
  channels.read(p, groups, cut.channels / groups, statistics, a.weight, a.bias);
  for (int r = p.lane; r < p.rows; r += cut.lanes) {
    const std::int64_t at = (p.first_row + r) * cut.channels + p.channel();
    float v[kWidth];
    load_values(static_cast<const T*>(a.x) + at, v);
    UNROLL for (int k = 0; k < kWidth; ++k) {
      v[k] = channels.z(k, v[k] - channels.mean[k]);
      if (a.silu) v[k] = Silu::value(v[k]);
    }
    store_values(static_cast<T*>(a.y) + at, v);
  }
}

}  // namespace

std::size_t group_norm_scratch(std::int64_t batch, std::int64_t rows, std::int64_t channels, std::int64_t groups) {
  // Forward: moments and statistics. Backward: sums of chunks, of samples, and two factors per group.
  return sizeof(float) *
         static_cast<std::size_t>(group_norm_pairs(batch, rows, channels) + batch * channels * 2 + batch * groups * 2);
}

int group_norm_forward(Stream* stream, const GroupNormForwardArgs& args) {
  if (!group_norm_valid(args)) return kInvalid;
  const bool wide = args.channels % 8 == 0 && aligned16(args.x, args.weight, args.bias, args.y);
  return with_type(args.type, [&](auto type) {
    using T = decltype(type);
    return with_width(wide, [&](auto width) {
      const RowBlocks cut(args.rows, args.channels, width.value);
      float* moments = static_cast<float*>(args.scratch);
      float* statistics = args.statistics;
      if (statistics == nullptr) statistics = moments + group_norm_pairs(args.batch, args.rows, args.channels);
      int status = launch(stream, group_norm_moments_kernel<T, width.value>, {cut.blocks(args.batch)}, kRowThreads,
                          cut.shared_bytes(), cut, static_cast<const T*>(args.x), moments);
      if (status != 0) return status;
      status = launch(stream, group_norm_statistics_kernel, {args.batch * args.groups}, kRowThreads,
                      kRowThreads / 32 * sizeof(double), cut, static_cast<int>(args.groups), moments, args.eps, statistics);
      if (status != 0) return status;
      return launch(stream, group_norm_kernel<T, width.value>, {cut.blocks(args.batch)}, kRowThreads, 0, cut, args, statistics);
    });
  });
}

}  // namespace cones::cuda
