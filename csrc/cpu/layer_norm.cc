#include <algorithm>
#include <utility>

#include "cpu/backend.h"
#include "cpu/kernels/kernels.h"

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
  cpu_of(context).parallel(blocks, std::max<index_t>(kGrain / (block * channels), 1), [&](index_t begin, index_t end, int) {
    for (index_t i = begin; i < end; ++i) {
      const index_t row = i * block;
      float* sums = partial.host() + i * 2 * channels;
      cpu_of(context).kernels().vector->layer_norm_weight_gradients(
          std::min(block, rows - row), channels, x.host() + row * channels, dy.host() + row * channels,
          statistics.host() + 2 * row, sums, sums + channels);
    }
  });
  cpu_of(context).parallel(channels, kGrain, [&](index_t begin, index_t end, int) {
    for (index_t c = begin; c < end; ++c) {
      double weight = 0, bias = 0;
      for (index_t i = 0; i < blocks; ++i) {
        weight += partial.host()[2 * i * channels + c];
        bias += partial.host()[(2 * i + 1) * channels + c];
      }
      dweight->host()[c] = static_cast<float>(weight);
      dbias->host()[c] = static_cast<float>(bias);
    }
  });
}

}  // namespace

Tensor Cpu::layer_norm_forward(const Context& context, const Tensor& x, const Tensor& weight, const Tensor& bias, float eps,
                          Tensor* statistics) const {
  const index_t channels = x.columns();
  Tensor y = context.empty(x.shape());
  if (statistics != nullptr) *statistics = context.empty({x.rows(), 2});
  parallel(x.rows(), grain(channels), [&](index_t begin, index_t end, int) {
    kernels().vector->layer_norm(end - begin, channels, x.host() + begin * channels, weight.host(),
                                        bias.host(), eps, y.host() + begin * channels,
                                        statistics ? statistics->host() + 2 * begin : nullptr);
  });
  return y;
}

void Cpu::layer_norm_backward(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                         const Tensor& weight, Tensor* dx, Tensor* dweight, Tensor* dbias) const {
  const index_t channels = x.columns();
  if (dx != nullptr) {
    *dx = context.empty(x.shape());
    parallel(x.rows(), grain(channels), [&](index_t begin, index_t end, int) {
        kernels().vector->layer_norm_backward(end - begin, channels, x.host() + begin * channels,
                                                     dy.host() + begin * channels, weight.host(),
                                                     statistics.host() + 2 * begin, dx->host() + begin * channels);
      });
  }
  if (dweight != nullptr || dbias != nullptr) {
    Tensor weights, biases;
    weight_gradients(context, dy, x, statistics, &weights, &biases);
    if (dweight != nullptr) *dweight = std::move(weights);
    if (dbias != nullptr) *dbias = std::move(biases);
  }
}

}  // namespace cones
