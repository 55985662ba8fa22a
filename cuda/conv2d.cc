#include "cuda/conv2d.h"

#include "cuda/backend.h"

namespace cones {
namespace {

cuda::Conv2dShape shape_of(const Shape& x, index_t out, index_t kernel_h, index_t kernel_w, const Conv2dOptions& o) {
  return {.batch = x[0], .height = x[1], .width = x[2], .in = x[3], .out = out, .kernel_h = kernel_h, .kernel_w = kernel_w,
          .stride = o.stride, .pad_top = o.pad_top, .pad_left = o.pad_left, .pad_bottom = o.pad_bottom, .pad_right = o.pad_right};
}

constexpr index_t kFloat = sizeof(float);

}  // namespace

PreparedRef Cuda::prepare_conv2d(const Context& context, const Parameter& weight, const Parameter* bias) const {
  auto prepared = std::make_shared<CudaWeights>();
  const Shape& s = weight.shape;
  prepared->weight = context.empty({s[0], s[2], s[3], s[1]}, type_);
  const Tensor stored = upload_stored(context, weight, s);
  launch(library_.conv2d_pack, {.out = s[0],
                                .in = s[1],
                                .taps = s[2] * s[3],
                                .from_type = cuda_type(weight.dtype),
                                .from = stored.raw(),
                                .type = type(),
                                .to = prepared->weight.raw()});
  if (bias) prepared->bias = upload_fp32(context, *bias);
  return prepared;
}

Tensor Cuda::conv2d_forward(const Context& context, const Tensor& x, const Prepared& prepared, const Conv2dOptions& options,
                            const Shape& out, const Tensor* residual, const Tensor* group_bias, DType dtype) const {
  const CudaWeights& weights = CudaWeights::of(prepared);
  Tensor y = context.empty(out, dtype);
  const cuda::Conv2dShape shape = shape_of(x.shape(), out[3], weights.weight.dim(1), weights.weight.dim(2), options);
  const Tensor partial = scratch(context, kFloat * library_.conv2d_forward_scratch(shape));
  launch(library_.conv2d_forward, {.type = type(),
                                   .x_type = type(),
                                   .y_type = cuda_type(dtype),
                                   .shape = shape,
                                   .x = x.raw(),
                                   .weight = weights.weight.raw(),
                                   .bias = floats(weights.bias),
                                   .residual = raw(residual),
                                   .group_bias = raw(group_bias),
                                   .y = y.raw(),
                                   .scratch = floats(partial)});
  return y;
}

Tensor Cuda::conv2d_backward_input(const Context& context, const Tensor& dy, const Prepared& prepared,
                                   const Conv2dOptions& options, const Shape& in) const {
  const CudaWeights& weights = CudaWeights::of(prepared);
  Tensor dx = context.empty(in);
  const cuda::Conv2dShape shape = shape_of(in, dy.dim(3), weights.weight.dim(1), weights.weight.dim(2), options);
  const Tensor partial = scratch(context, kFloat * library_.conv2d_backward_input_scratch(shape));
  launch(library_.conv2d_backward_input, {.type = type(),
                                          .shape = shape,
                                          .dy = dy.raw(),
                                          .weight = weights.weight.raw(),
                                          .dx = dx.raw(),
                                          .scratch = floats(partial)});
  return dx;
}

Tensor Cuda::conv2d_backward_weight(const Context& context, const Tensor& dy, const Tensor& x, const Shape& weight,
                                    const Conv2dOptions& options) const {
  Tensor dw = context.empty(weight, DType::f32);
  const cuda::Conv2dShape shape = shape_of(x.shape(), weight[0], weight[2], weight[3], options);
  const Tensor partial = scratch(context, kFloat * library_.conv2d_backward_weight_scratch(shape));
  launch(library_.conv2d_backward_weight, {.type = type(),
                                           .shape = shape,
                                           .dy = dy.raw(),
                                           .x = x.raw(),
                                           .scale = 1 / context.gradient_scale,
                                           .scratch = floats(partial),
                                           .dw = floats(dw)});
  return dw;
}

}  // namespace cones
