#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/backend.h"
#include "cpu/kernels/kernels.h"

namespace cones {
namespace {

constexpr index_t kBlock = 1 << 16;  // elements of a block of rows: 256 KiB, so that a second pass finds it in cache
constexpr index_t kGrain = 1 << 15;  // elements

/// x [batch, rows, channels] cut into blocks of rows. The cut depends on the shape alone, so sums do not depend on the
/// number of threads or on the batch.
struct Layout {
  index_t batch, rows, channels, groups, block_rows, blocks;

  Layout(const Tensor& x, int groups_in)
      : batch(x.dim(0)), rows(x.rows() / x.dim(0)), channels(x.columns()), groups(groups_in) {
    block_rows = std::clamp<index_t>(kBlock / channels, 16, 256);
    blocks = (rows + block_rows - 1) / block_rows;
  }
  index_t first_row(index_t block) const { return block * block_rows; }
  index_t rows_of(index_t block) const { return std::min(block_rows, rows - first_row(block)); }
  index_t offset(index_t sample, index_t block) const { return (sample * rows + first_row(block)) * channels; }
  index_t group_size() const { return channels / groups; }
};

/// Runs first(sample, block) for all blocks, then middle(sample), then last(sample, block), backwards: the blocks that
/// were read last are the ones still in cache. With enough samples each is
/// one task, which finds its second pass in cache; otherwise the blocks of each pass are the tasks.
template <class First, class Middle, class Last>
void run_passes(const Context& context, const Layout& layout, First first, Middle middle, Last last) {
  const index_t sample_size = layout.rows * layout.channels;
  if (layout.batch >= cpu_of(context).threads() || layout.batch * sample_size <= 2 * kGrain) {
    cpu_of(context).parallel(layout.batch, std::max<index_t>(kGrain / sample_size, 1), [&](index_t begin, index_t end, int) {
      for (index_t sample = begin; sample < end; ++sample) {
        for (index_t block = 0; block < layout.blocks; ++block) first(sample, block);
        middle(sample);
        for (index_t block = layout.blocks; block-- > 0;) last(sample, block);
      }
    });
    return;
  }
  const auto each_block = [&](auto pass) {
    cpu_of(context).parallel(layout.batch * layout.blocks, 1, [&](index_t begin, index_t end, int) {
      for (index_t i = begin; i < end; ++i) pass(i);
    });
  };
  const index_t tasks = layout.batch * layout.blocks;
  each_block([&](index_t i) { first(i / layout.blocks, i % layout.blocks); });
  cpu_of(context).run(1, [&](index_t, int) {
    for (index_t sample = 0; sample < layout.batch; ++sample) middle(sample);
  });
  each_block([&](index_t i) { last((tasks - 1 - i) / layout.blocks, (tasks - 1 - i) % layout.blocks); });
}

/// Mean and 1/√(variance + eps) of each group from the moments of the blocks' channels: blocks are merged to channels,
/// channels to groups (Chan et al., 1979). moments [blocks, 2, C]; statistics [groups, 2].
void merge_moments(const Layout& layout, const float* moments, float eps, float* statistics) {
  const auto channels = static_cast<std::size_t>(layout.channels);
  const double rows = static_cast<double>(layout.rows);
  std::vector<double> mean(channels), m2(channels);
  for (index_t i = 0; i < layout.blocks; ++i) {
    const float* block = moments + 2 * i * layout.channels;
    const double share = static_cast<double>(layout.rows_of(i)) / rows;
    for (std::size_t c = 0; c < channels; ++c) mean[c] += share * static_cast<double>(block[c]);
  }
  for (index_t i = 0; i < layout.blocks; ++i) {
    const float* block = moments + 2 * i * layout.channels;
    const double count = static_cast<double>(layout.rows_of(i));
    for (std::size_t c = 0; c < channels; ++c) {
      const double difference = static_cast<double>(block[c]) - mean[c];
      m2[c] += static_cast<double>(block[channels + c]) + count * difference * difference;
    }
  }
  const auto size = static_cast<std::size_t>(layout.group_size());
  for (std::size_t g = 0; g < static_cast<std::size_t>(layout.groups); ++g) {
    double group_mean = 0, group_m2 = 0;
    for (std::size_t c = g * size; c < (g + 1) * size; ++c) group_mean += mean[c];
    group_mean /= static_cast<double>(size);
    for (std::size_t c = g * size; c < (g + 1) * size; ++c)
      group_m2 += m2[c] + rows * (mean[c] - group_mean) * (mean[c] - group_mean);
    const double variance = group_m2 / (rows * static_cast<double>(size));
    statistics[2 * g] = static_cast<float>(group_mean);
    // 1/√∞ = 0 would make an overflow look like the bias.
    statistics[2 * g + 1] = std::isfinite(static_cast<float>(variance))
                                ? static_cast<float>(1.0 / std::sqrt(variance + static_cast<double>(eps)))
                                : std::numeric_limits<float>::quiet_NaN();
  }
}

/// mean, scale and shift of each channel, one after the other in affine [3, C], from statistics [groups, 2].
void expand(const Layout& layout, const Tensor& weight, const Tensor& bias, const float* statistics, float* affine) {
  for (index_t c = 0; c < layout.channels; ++c) {
    const index_t g = c / layout.group_size();
    affine[c] = statistics[2 * g];
    affine[layout.channels + c] = statistics[2 * g + 1] * weight.host()[c];
    affine[2 * layout.channels + c] = bias.host()[c];
  }
}

}  // namespace

Tensor Cpu::group_norm_forward(const Context& context, const Tensor& x, const Tensor& weight, const Tensor& bias,
                          const GroupNormOptions& options, Tensor* statistics) const {
  const Layout layout(x, options.groups);
  const index_t channels = layout.channels;
  Tensor y = context.empty(x.shape());
  Tensor stats = context.empty({layout.batch, layout.groups, 2});
  Tensor moments = context.empty({layout.batch, layout.blocks, 2, channels});
  Tensor affine = context.empty({layout.batch, 3, channels});
  if (statistics != nullptr) *statistics = stats;

  const VectorKernels& loops = *kernels().vector;
  run_passes(
      context, layout,
      [&](index_t sample, index_t block) {
        float* mean = moments.host() + (sample * layout.blocks + block) * 2 * channels;
        loops.channel_moments(layout.rows_of(block), channels, x.host() + layout.offset(sample, block), mean,
                                mean + channels);
      },
      [&](index_t sample) {
        float* own = stats.host() + sample * layout.groups * 2;
        merge_moments(layout, moments.host() + sample * layout.blocks * 2 * channels, options.eps, own);
        expand(layout, weight, bias, own, affine.host() + sample * 3 * channels);
      },
      [&](index_t sample, index_t block) {
        const float* mean = affine.host() + sample * 3 * channels;
        const index_t offset = layout.offset(sample, block);
        loops.normalize_channels(layout.rows_of(block), channels, x.host() + offset, mean, mean + channels,
                                   mean + 2 * channels, options.silu, y.host() + offset);
      });
  return y;
}

void Cpu::group_norm_backward(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                         const Tensor& weight, const Tensor& bias, const GroupNormOptions& options, Tensor* dx, Tensor* dweight,
                         Tensor* dbias) const {
  const Layout layout(x, options.groups);
  const index_t channels = layout.channels, size = layout.group_size();
  Tensor dz = context.empty(x.shape());  // the gradient before the SiLU; becomes dx in place
  Tensor partial = context.empty({layout.batch, layout.blocks, 2, channels});
  Tensor sums = context.empty({layout.batch, 2, channels});
  Tensor affine = context.empty({layout.batch, 3, channels});
  Tensor factors = context.empty({layout.batch, 3, channels});
  if (dx != nullptr) *dx = dz;
  if (dweight != nullptr) *dweight = context.zeros({channels});
  if (dbias != nullptr) *dbias = context.zeros({channels});

  const VectorKernels& loops = *kernels().vector;
  run(layout.batch, [&](index_t sample, int) {
    expand(layout, weight, bias, statistics.host() + sample * layout.groups * 2, affine.host() + sample * 3 * channels);
  });
  run_passes(
      context, layout,
      [&](index_t sample, index_t block) {
        const float* mean = affine.host() + sample * 3 * channels;
        float* sum = partial.host() + (sample * layout.blocks + block) * 2 * channels;
        const index_t offset = layout.offset(sample, block);
        loops.normalize_channels_backward(layout.rows_of(block), channels, x.host() + offset, dy.host() + offset,
                                            mean, mean + channels, mean + 2 * channels, options.silu,
                                            dz.host() + offset, sum, sum + channels);
      },
      [&](index_t sample) {
        // With z = x̂ w + bias, x̂ = (x − mean) r and means over the group:
        // dx = r (w dz − mean(w dz) − x̂ mean(w dz x̂)).
        const double count = static_cast<double>(layout.rows * size);
        const float* parts = partial.host() + sample * layout.blocks * 2 * channels;
        float* sum = sums.host() + sample * 2 * channels;
        float* dot = sum + channels;
        float* a = factors.host() + sample * 3 * channels;
        for (index_t g = 0; g < layout.groups; ++g) {
          const double r = statistics.host()[(sample * layout.groups + g) * 2 + 1];
          double mean = 0, mean_dot = 0;
          for (index_t c = g * size; c < (g + 1) * size; ++c) {
            double channel_sum = 0, channel_dot = 0;
            for (index_t i = 0; i < layout.blocks; ++i) {
              channel_sum += parts[2 * i * channels + c];
              channel_dot += parts[(2 * i + 1) * channels + c];
            }
            channel_dot *= r;
            sum[c] = static_cast<float>(channel_sum);
            dot[c] = static_cast<float>(channel_dot);
            mean += channel_sum * weight.host()[c] / count;
            mean_dot += channel_dot * weight.host()[c] / count;
          }
          for (index_t c = g * size; c < (g + 1) * size; ++c) {
            a[c] = static_cast<float>(r * weight.host()[c]);
            a[channels + c] = static_cast<float>(-r * r * mean_dot);
            a[2 * channels + c] = static_cast<float>(-r * mean);
          }
        }
      },
      [&](index_t sample, index_t block) {
        if (dx == nullptr) return;
        const float* a = factors.host() + sample * 3 * channels;
        const index_t offset = layout.offset(sample, block);
        loops.combine_channels(layout.rows_of(block), channels, x.host() + offset, dz.host() + offset,
                                 affine.host() + sample * 3 * channels, a, a + channels, a + 2 * channels,
                                 dz.host() + offset);
      });

  run(1, [&](index_t, int) {
    for (index_t sample = 0; sample < layout.batch; ++sample) {
      const float* sum = sums.host() + sample * 2 * channels;
      if (dbias != nullptr) loops.add(channels, dbias->host(), sum, dbias->host());
      if (dweight != nullptr) loops.add(channels, dweight->host(), sum + channels, dweight->host());
    }
  });
}

}  // namespace cones
