#include "cuda/outer.h"

#include "cuda/backend.h"

namespace cones {

Tensor Cuda::outer(const Context& context, const Tensor& dy, const Tensor& x) const {
  const index_t m = x.rows(), n = dy.columns(), k = x.columns();
  Tensor dw = context.empty({n, k}, DType::f32);
  const Tensor partial = scratch(context, library_.outer_scratch(m, n, k));
  launch(library_.outer, {.type = type(),
                          .M = m,
                          .N = n,
                          .K = k,
                          .dy = dy.raw(),
                          .x = x.raw(),
                          .scale = 1 / context.gradient_scale,
                          .dw = floats(dw),
                          .scratch = partial.raw(),
                          .arrived = counters()});
  return dw;
}

Tensor Cuda::sums_of_columns(const Context& context, const Tensor& x, index_t rows_per_group, float scale, DType dtype) const {
  const index_t groups = x.rows() / rows_per_group;
  Tensor sums = context.empty({groups, x.columns()}, dtype);
  const Tensor partial = scratch(context, library_.column_sums_scratch(groups, rows_per_group, x.columns()));
  launch(library_.column_sums, {.type = type(),
                                .groups = groups,
                                .rows_per_group = rows_per_group,
                                .N = x.columns(),
                                .x = x.raw(),
                                .scale = scale,
                                .sums = sums.raw(),
                                .sums_type = cuda_type(dtype),
                                .scratch = floats(partial)});
  return sums;
}

Tensor Cuda::column_sums(const Context& context, const Tensor& x, index_t rows_per_group) const {
  return sums_of_columns(context, x, rows_per_group, 1, type_);
}

Tensor Cuda::bias_gradient(const Context& context, const Tensor& dy) const {
  return sums_of_columns(context, dy, dy.rows(), 1 / context.gradient_scale, DType::f32).reshape({dy.columns()});
}

}  // namespace cones
