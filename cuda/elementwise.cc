#include "cuda/backend.h"

namespace cones {

void Cuda::add(const Context&, const Tensor& a, const Tensor& b, const Tensor& y) const {
  launch(library_.add_forward, {.type = type(), .count = y.size(), .a = a.raw(), .b = b.raw(), .y = y.raw()});
}

Tensor Cuda::affine(const Context& context, const Tensor& x, float a, float b) const {
  Tensor y = context.empty(x.shape());
  launch(library_.affine_forward, {.type = type(), .count = x.size(), .a = a, .b = b, .x = x.raw(), .y = y.raw()});
  return y;
}

Tensor Cuda::activation_forward(const Context& context, const Tensor& x, Activation activation) const {
  Tensor y = context.empty(x.shape());
  launch(library_.activation_forward, {.type = type(),
                                       .activation = static_cast<cuda::Activation>(activation),
                                       .count = x.size(),
                                       .x = x.raw(),
                                       .y = y.raw()});
  return y;
}

Tensor Cuda::activation_backward(const Context& context, const Tensor& dy, const Tensor& x, Activation activation) const {
  Tensor dx = context.empty(x.shape());
  launch(library_.activation_backward, {.type = type(),
                                        .activation = static_cast<cuda::Activation>(activation),
                                        .count = x.size(),
                                        .dy = dy.raw(),
                                        .x = x.raw(),
                                        .dx = dx.raw()});
  return dx;
}

Tensor Cuda::geglu_forward(const Context& context, const Tensor& x) const {
  const index_t channels = x.columns() / 2;
  Tensor y = context.empty(x.shape().with_last(channels));
  launch(library_.geglu_forward, {.type = type(), .rows = x.rows(), .channels = channels, .x = x.raw(), .y = y.raw()});
  return y;
}

Tensor Cuda::geglu_backward(const Context& context, const Tensor& dy, const Tensor& x) const {
  Tensor dx = context.empty(x.shape());
  launch(library_.geglu_backward,
         {.type = type(), .rows = x.rows(), .channels = x.columns() / 2, .dy = dy.raw(), .x = x.raw(), .dx = dx.raw()});
  return dx;
}

Tensor Cuda::cast(const Context& context, const Tensor& x, DType dtype, float factor) const {
  if (x.dtype() == dtype && factor == 1) return x;
  Tensor y = context.empty(x.shape(), dtype);
  launch(library_.cast, {.from = cuda_type(x.dtype()),
                         .to = cuda_type(dtype),
                         .count = x.size(),
                         .factor = factor,
                         .x = x.raw(),
                         .y = y.raw()});
  return y;
}

static_assert(static_cast<int>(Activation::silu) == static_cast<int>(cuda::Activation::silu) &&
              static_cast<int>(Activation::gelu) == static_cast<int>(cuda::Activation::gelu) &&
              static_cast<int>(Activation::quick_gelu) == static_cast<int>(cuda::Activation::quick_gelu) &&
              static_cast<int>(Activation::gelu_tanh) == static_cast<int>(cuda::Activation::gelu_tanh));

}  // namespace cones
