#include "ops/layer_norm.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernels/kernels.h"

namespace cones {
namespace {

constexpr index_t kGrain = 1 << 15;  // elements

index_t grain(index_t channels) { return std::max<index_t>(kGrain / channels, 1); }

/// Row blocks are summed one by one and then together, so that the sums do not depend on the number of threads.
void weight_gradients(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                      Tensor* dweight, Tensor* dbias) {
  const index_t channels = x.columns(), rows = x.rows();
  const index_t block = std::max<index_t>(64, (rows + 31) / 32), blocks = (rows + block - 1) / block;
  Tensor partial = context.zeros({blocks, 2, channels});
  *dweight = context.empty({channels});
  *dbias = context.empty({channels});
  if (context.planning()) return;
  context.parallel(blocks, std::max<index_t>(kGrain / (block * channels), 1), [&](index_t begin, index_t end, int) {
    for (index_t i = begin; i < end; ++i) {
      const index_t row = i * block;
      float* sums = partial.data() + i * 2 * channels;
      context.kernels->vector->layer_norm_weight_gradients(
          std::min(block, rows - row), channels, x.data() + row * channels, dy.data() + row * channels,
          statistics.data() + 2 * row, sums, sums + channels);
    }
  });
  for (index_t c = 0; c < channels; ++c) {
    double weight = 0, bias = 0;
    for (index_t i = 0; i < blocks; ++i) {
      weight += partial.data()[2 * i * channels + c];
      bias += partial.data()[(2 * i + 1) * channels + c];
    }
    dweight->data()[c] = static_cast<float>(weight);
    dbias->data()[c] = static_cast<float>(bias);
  }
}

}  // namespace

Tensor layer_norm_forward(const Context& context, const Tensor& x, const NormWeights& weights, float eps,
                          Tensor* statistics) {
  const index_t channels = x.columns();
  check(channels == weights.weight.size(), "layer_norm: one weight per channel");
  Tensor y = context.empty(x.shape());
  if (statistics != nullptr) *statistics = context.empty({x.rows(), 2});
  if (context.planning()) return y;
  context.parallel(x.rows(), grain(channels), [&](index_t begin, index_t end, int) {
    context.kernels->vector->layer_norm(end - begin, channels, x.data() + begin * channels, weights.weight.data(),
                                        weights.bias.data(), eps, y.data() + begin * channels,
                                        statistics ? statistics->data() + 2 * begin : nullptr);
  });
  return y;
}

void layer_norm_backward(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                         const NormWeights& weights, Tensor* dx, Tensor* dweight, Tensor* dbias) {
  const index_t channels = x.columns();
  if (dx != nullptr) {
    *dx = context.empty(x.shape());
    if (!context.planning())
      context.parallel(x.rows(), grain(channels), [&](index_t begin, index_t end, int) {
        context.kernels->vector->layer_norm_backward(end - begin, channels, x.data() + begin * channels,
                                                     dy.data() + begin * channels, weights.weight.data(),
                                                     statistics.data() + 2 * begin, dx->data() + begin * channels);
      });
  }
  if (dweight != nullptr || dbias != nullptr) {
    Tensor weight, bias;
    weight_gradients(context, dy, x, statistics, &weight, &bias);
    if (dweight != nullptr) *dweight = std::move(weight);
    if (dbias != nullptr) *dbias = std::move(bias);
  }
}

Var layer_norm(Tape& tape, const Var& x, const NormWeights& weights, float eps) {
  const Context& context = tape.context();
  const bool want_weight = tape.wants(weights.weight_parameter), want_bias = tape.wants(weights.bias_parameter);
  const bool wanted = tape.recording() && (x.requires_grad() || want_weight || want_bias);
  Tensor statistics;
  Var y = tape.result(layer_norm_forward(context, x.value(), weights, eps, wanted ? &statistics : nullptr), wanted);
  if (y.requires_grad())
    tape.record([&context, parameters = tape.parameters(), want_weight, want_bias, weights, statistics,
                 x = x.value(), gx = x.gradient(), dy = y.gradient()] {
      if (!dy->tensor.defined()) return;
      const Tensor gradient = std::exchange(dy->tensor, Tensor());
      Tensor dx, dweight, dbias;
      layer_norm_backward(context, gradient, x, statistics, weights, gx ? &dx : nullptr,
                          want_weight ? &dweight : nullptr, want_bias ? &dbias : nullptr);
      if (want_weight) parameters->add(context, *weights.weight_parameter, dweight);
      if (want_bias) parameters->add(context, *weights.bias_parameter, dbias);
      Tape::accumulate(context, gx, std::move(dx));
    });
  return y;
}

}  // namespace cones
