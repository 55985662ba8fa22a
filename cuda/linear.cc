#include "cuda/linear.h"

#include "cuda/backend.h"

namespace cones {

PreparedRef Cuda::prepare_linear(const Context& context, const Parameter& weight, const Parameter* bias) const {
  auto prepared = std::make_shared<CudaWeights>();
  const Shape shape{weight.shape[0], weight.size() / weight.shape[0]};
  const Tensor stored = upload_stored(context, weight, shape);
  prepared->weight = cast(context, stored, type_, 1);
  if (bias) prepared->bias = upload_fp32(context, *bias);
  return prepared;
}

Tensor Cuda::linear_forward(const Context& context, const Tensor& x, const Prepared& prepared, index_t out, const Tensor* residual,
                            DType dtype) const {
  const CudaWeights& weights = CudaWeights::of(prepared);
  Tensor y = context.empty(x.shape().with_last(out), dtype);
  launch(library_.linear_forward, {.type = type(),
                                   .M = x.rows(),
                                   .N = out,
                                   .K = x.columns(),
                                   .x = x.raw(),
                                   .weight = weights.weight.raw(),
                                   .bias = floats(weights.bias),
                                   .residual = raw(residual),
                                   .y = y.raw(),
                                   .y_type = cuda_type(dtype)});
  return y;
}

Tensor Cuda::linear_backward_input(const Context& context, const Tensor& dy, const Prepared& prepared, index_t in,
                                   const Tensor& onto) const {
  Tensor dx = context.empty(dy.shape().with_last(in));
  launch(library_.linear_backward_input, {.type = type(),
                                          .M = dy.rows(),
                                          .N = dy.columns(),
                                          .K = in,
                                          .dy = dy.raw(),
                                          .weight = CudaWeights::of(prepared).weight.raw(),
                                          .onto = onto.raw(),
                                          .dx = dx.raw()});
  return dx;
}

}  // namespace cones
