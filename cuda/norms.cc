#include "cuda/backend.h"

namespace cones {

Tensor Cuda::group_norm_forward(const Context& context, const Tensor& x, const Tensor& weight, const Tensor& bias,
                                const GroupNormOptions& options, Tensor* statistics) const {
  const index_t batch = x.dim(0), channels = x.columns(), rows = x.rows() / batch;
  Tensor y = context.empty(x.shape());
  if (statistics) *statistics = context.empty({batch, options.groups, 2}, DType::f32);
  const Tensor partial =
      scratch(context, static_cast<std::int64_t>(library_.group_norm_scratch(batch, rows, channels, options.groups)));
  launch(library_.group_norm_forward, {.type = type(),
                                       .batch = batch,
                                       .rows = rows,
                                       .channels = channels,
                                       .groups = options.groups,
                                       .eps = options.eps,
                                       .silu = options.silu,
                                       .x = x.raw(),
                                       .weight = floats(weight),
                                       .bias = floats(bias),
                                       .y = y.raw(),
                                       .statistics = floats(statistics),
                                       .scratch = partial.raw()});
  return y;
}

void Cuda::group_norm_backward(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                               const Tensor& weight, const Tensor& bias, const GroupNormOptions& options, Tensor* dx,
                               Tensor* dweight, Tensor* dbias) const {
  const index_t batch = x.dim(0), channels = x.columns(), rows = x.rows() / batch;
  if (dx) *dx = context.empty(x.shape());
  if (dweight) *dweight = context.empty({channels}, DType::f32);
  if (dbias) *dbias = context.empty({channels}, DType::f32);
  const Tensor partial =
      scratch(context, static_cast<std::int64_t>(library_.group_norm_scratch(batch, rows, channels, options.groups)));
  launch(library_.group_norm_backward, {.type = type(),
                                        .batch = batch,
                                        .rows = rows,
                                        .channels = channels,
                                        .groups = options.groups,
                                        .silu = options.silu,
                                        .scale = 1 / context.gradient_scale,
                                        .dy = dy.raw(),
                                        .x = x.raw(),
                                        .weight = floats(weight),
                                        .bias = floats(bias),
                                        .statistics = floats(statistics),
                                        .dx = raw(dx),
                                        .dweight = floats(dweight),
                                        .dbias = floats(dbias),
                                        .scratch = partial.raw()});
}

Tensor Cuda::layer_norm_forward(const Context& context, const Tensor& x, const Tensor& weight, const Tensor& bias, float eps,
                                Tensor* statistics) const {
  Tensor y = context.empty(x.shape());
  if (statistics) *statistics = context.empty({x.rows(), 2}, DType::f32);
  launch(library_.layer_norm_forward, {.type = type(),
                                       .rows = x.rows(),
                                       .channels = x.columns(),
                                       .eps = eps,
                                       .x = x.raw(),
                                       .weight = floats(weight),
                                       .bias = floats(bias),
                                       .y = y.raw(),
                                       .statistics = floats(statistics)});
  return y;
}

void Cuda::layer_norm_backward(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                               const Tensor& weight, Tensor* dx, Tensor* dweight, Tensor* dbias) const {
  const index_t channels = x.columns();
  if (dx) *dx = context.empty(x.shape());
  if (dweight) *dweight = context.empty({channels}, DType::f32);
  if (dbias) *dbias = context.empty({channels}, DType::f32);
  Tensor partial;
  if (dweight || dbias)
    partial = scratch(context, static_cast<std::int64_t>(library_.layer_norm_backward_scratch(x.rows(), channels)));
  launch(library_.layer_norm_backward, {.type = type(),
                                        .rows = x.rows(),
                                        .channels = channels,
                                        .scale = 1 / context.gradient_scale,
                                        .dy = dy.raw(),
                                        .x = x.raw(),
                                        .weight = floats(weight),
                                        .statistics = floats(statistics),
                                        .dx = raw(dx),
                                        .dweight = floats(dweight),
                                        .dbias = floats(dbias),
                                        .scratch = partial.raw()});
}

}  // namespace cones
