#include "ops/group_norm.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernels/kernels.h"

namespace cones {
namespace {

constexpr index_t kBlock = 1 << 16;  // elements of a block of rows: 256 KiB, so that a second pass finds it in cache
constexpr index_t kGrain = 1 << 15;  // elements

/// x [batch, rows, channels] cut into blocks of rows. The cut depends on the shape alone, so sums do not depend on the
/// number of threads or on the batch.
struct Layout {
  index_t batch, rows, channels, groups, block_rows, blocks;

  Layout(const Tensor& x, const NormWeights& weights, int groups_in)
      : batch(x.dim(0)), rows(x.rows() / x.dim(0)), channels(x.columns()), groups(groups_in) {
    check(groups > 0 && channels % groups == 0, "group_norm: the groups divide the channels");
    check(channels == weights.weight.size(), "group_norm: one weight per channel");
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
  if (layout.batch >= context.pool->threads() || layout.batch * sample_size <= 2 * kGrain) {
    context.parallel(layout.batch, std::max<index_t>(kGrain / sample_size, 1), [&](index_t begin, index_t end, int) {
      for (index_t sample = begin; sample < end; ++sample) {
        for (index_t block = 0; block < layout.blocks; ++block) first(sample, block);
        middle(sample);
        for (index_t block = layout.blocks; block-- > 0;) last(sample, block);
      }
    });
    return;
  }
  const auto each_block = [&](auto pass) {
    context.parallel(layout.batch * layout.blocks, 1, [&](index_t begin, index_t end, int) {
      for (index_t i = begin; i < end; ++i) pass(i);
    });
  };
  const index_t tasks = layout.batch * layout.blocks;
  each_block([&](index_t i) { first(i / layout.blocks, i % layout.blocks); });
  for (index_t sample = 0; sample < layout.batch; ++sample) middle(sample);
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
    statistics[2 * g + 1] = static_cast<float>(1.0 / std::sqrt(variance + static_cast<double>(eps)));
  }
}

/// mean, scale and shift of each channel, one after the other in affine [3, C], from statistics [groups, 2].
void expand(const Layout& layout, const NormWeights& weights, const float* statistics, float* affine) {
  for (index_t c = 0; c < layout.channels; ++c) {
    const index_t g = c / layout.group_size();
    affine[c] = statistics[2 * g];
    affine[layout.channels + c] = statistics[2 * g + 1] * weights.weight.data()[c];
    affine[2 * layout.channels + c] = weights.bias.data()[c];
  }
}

}  // namespace

Tensor group_norm_forward(const Context& context, const Tensor& x, const NormWeights& weights,
                          const GroupNormOptions& options, Tensor* statistics) {
  const Layout layout(x, weights, options.groups);
  const index_t channels = layout.channels;
  Tensor y = context.empty(x.shape());
  Tensor stats = context.empty({layout.batch, layout.groups, 2});
  Tensor moments = context.empty({layout.batch, layout.blocks, 2, channels});
  Tensor affine = context.empty({layout.batch, 3, channels});
  if (statistics != nullptr) *statistics = stats;
  if (context.planning()) return y;

  const VectorKernels& kernels = *context.kernels->vector;
  run_passes(
      context, layout,
      [&](index_t sample, index_t block) {
        float* mean = moments.data() + (sample * layout.blocks + block) * 2 * channels;
        kernels.channel_moments(layout.rows_of(block), channels, x.data() + layout.offset(sample, block), mean,
                                mean + channels);
      },
      [&](index_t sample) {
        float* own = stats.data() + sample * layout.groups * 2;
        merge_moments(layout, moments.data() + sample * layout.blocks * 2 * channels, options.eps, own);
        expand(layout, weights, own, affine.data() + sample * 3 * channels);
      },
      [&](index_t sample, index_t block) {
        const float* mean = affine.data() + sample * 3 * channels;
        const index_t offset = layout.offset(sample, block);
        kernels.normalize_channels(layout.rows_of(block), channels, x.data() + offset, mean, mean + channels,
                                   mean + 2 * channels, options.silu, y.data() + offset);
      });
  return y;
}

void group_norm_backward(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                         const NormWeights& weights, const GroupNormOptions& options, Tensor* dx, Tensor* dweight,
                         Tensor* dbias) {
  const Layout layout(x, weights, options.groups);
  const index_t channels = layout.channels, size = layout.group_size();
  Tensor dz = context.empty(x.shape());  // the gradient before the SiLU; becomes dx in place
  Tensor partial = context.empty({layout.batch, layout.blocks, 2, channels});
  Tensor sums = context.empty({layout.batch, 2, channels});
  Tensor affine = context.empty({layout.batch, 3, channels});
  Tensor factors = context.empty({layout.batch, 3, channels});
  if (dx != nullptr) *dx = dz;
  if (dweight != nullptr) *dweight = context.zeros({channels});
  if (dbias != nullptr) *dbias = context.zeros({channels});
  if (context.planning()) return;

  const VectorKernels& kernels = *context.kernels->vector;
  for (index_t sample = 0; sample < layout.batch; ++sample)
    expand(layout, weights, statistics.data() + sample * layout.groups * 2, affine.data() + sample * 3 * channels);
  run_passes(
      context, layout,
      [&](index_t sample, index_t block) {
        const float* mean = affine.data() + sample * 3 * channels;
        float* sum = partial.data() + (sample * layout.blocks + block) * 2 * channels;
        const index_t offset = layout.offset(sample, block);
        kernels.normalize_channels_backward(layout.rows_of(block), channels, x.data() + offset, dy.data() + offset,
                                            mean, mean + channels, mean + 2 * channels, options.silu,
                                            dz.data() + offset, sum, sum + channels);
      },
      [&](index_t sample) {
        // With z = x̂ w + bias, x̂ = (x − mean) r and means over the group:
        // dx = r (w dz − mean(w dz) − x̂ mean(w dz x̂)).
        const double count = static_cast<double>(layout.rows * size);
        const float* parts = partial.data() + sample * layout.blocks * 2 * channels;
        float* sum = sums.data() + sample * 2 * channels;
        float* dot = sum + channels;
        float* a = factors.data() + sample * 3 * channels;
        for (index_t g = 0; g < layout.groups; ++g) {
          const double r = statistics.data()[(sample * layout.groups + g) * 2 + 1];
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
            mean += channel_sum * weights.weight.data()[c] / count;
            mean_dot += channel_dot * weights.weight.data()[c] / count;
          }
          for (index_t c = g * size; c < (g + 1) * size; ++c) {
            a[c] = static_cast<float>(r * weights.weight.data()[c]);
            a[channels + c] = static_cast<float>(-r * r * mean_dot);
            a[2 * channels + c] = static_cast<float>(-r * mean);
          }
        }
      },
      [&](index_t sample, index_t block) {
        if (dx == nullptr) return;
        const float* a = factors.data() + sample * 3 * channels;
        const index_t offset = layout.offset(sample, block);
        kernels.combine_channels(layout.rows_of(block), channels, x.data() + offset, dz.data() + offset,
                                 affine.data() + sample * 3 * channels, a, a + channels, a + 2 * channels,
                                 dz.data() + offset);
      });

  for (index_t sample = 0; sample < layout.batch; ++sample) {
    const float* sum = sums.data() + sample * 2 * channels;
    if (dbias != nullptr) kernels.add(channels, dbias->data(), sum, dbias->data());
    if (dweight != nullptr) kernels.add(channels, dweight->data(), sum + channels, dweight->data());
  }
}

Var group_norm(Tape& tape, const Var& x, const NormWeights& weights, int groups, float eps, bool silu) {
  const Context& context = tape.context();
  const GroupNormOptions options{groups, eps, silu};
  const bool want_weight = tape.wants(weights.weight_parameter), want_bias = tape.wants(weights.bias_parameter);
  const bool wanted = tape.recording() && (x.requires_grad() || want_weight || want_bias);
  Tensor statistics;
  Var y = tape.result(group_norm_forward(context, x.value(), weights, options, wanted ? &statistics : nullptr), wanted);
  if (y.requires_grad())
    tape.record([&context, parameters = tape.parameters(), want_weight, want_bias, weights, options, statistics,
                 x = x.value(), gx = x.gradient(), dy = y.gradient()] {
      if (!dy->tensor.defined()) return;
      const Tensor gradient = std::exchange(dy->tensor, Tensor());
      Tensor dx, dweight, dbias;
      group_norm_backward(context, gradient, x, statistics, weights, options, gx ? &dx : nullptr,
                          want_weight ? &dweight : nullptr, want_bias ? &dbias : nullptr);
      if (want_weight) parameters->add(context, *weights.weight_parameter, dweight);
      if (want_bias) parameters->add(context, *weights.bias_parameter, dbias);
      Tape::accumulate(context, gx, std::move(dx));
    });
  return y;
}

}  // namespace cones
