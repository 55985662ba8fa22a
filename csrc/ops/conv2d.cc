#include "ops/conv2d.h"

#include "base/error.h"

namespace cones {
namespace {

Shape output_shape(const Shape& x, const ConvWeights& weights, const Conv2dOptions& o) {
  check(x.rank() == 4 && x[3] == weights.in(), "conv2d: x is [B, H, W, C] with the layer's input channels");
  const index_t height = x[1] + o.pad_top + o.pad_bottom - weights.kernel_h();
  const index_t width = x[2] + o.pad_left + o.pad_right - weights.kernel_w();
  check(height >= 0 && width >= 0, "conv2d: the padded picture is at least as large as the filter");
  return {x[0], height / o.stride + 1, width / o.stride + 1, weights.out()};
}

}  // namespace

ConvWeights::ConvWeights(const Context& context, const Parameter* weight, const Parameter* bias)
    : weight_(weight), bias_(bias) {
  check(bias == nullptr || bias->size() == out(), "a convolution's bias has one value per output channel");
  prepared_ = context.backend->prepare_conv2d(context, *weight, bias);
}

Tensor conv2d_forward(const Context& context, const Tensor& x, const ConvWeights& weights, const Conv2dOptions& options,
                      const Tensor* residual, const Tensor* group_bias, std::optional<DType> dtype) {
  const Shape shape = output_shape(x.shape(), weights, options);
  check(residual == nullptr || residual->size() == shape.size(), "conv2d: the residual is shaped like the output");
  check(group_bias == nullptr || group_bias->size() == shape[0] * shape[3], "conv2d: the group bias is [B, O]");
  return context.backend->conv2d_forward(context, x, weights.prepared(), options, shape, residual, group_bias,
                                         dtype.value_or(context.backend->activation()));
}

Tensor conv2d_backward_input(const Context& context, const Tensor& dy, const ConvWeights& weights,
                             const Conv2dOptions& options, const Shape& shape) {
  check(dy.shape() == output_shape(shape, weights, options), "conv2d: dy is shaped like the output");
  return context.backend->conv2d_backward_input(context, dy, weights.prepared(), options, shape);
}

Tensor conv2d_backward_weight(const Context& context, const Tensor& dy, const Tensor& x, const ConvWeights& weights,
                              const Conv2dOptions& options) {
  check(dy.shape() == output_shape(x.shape(), weights, options), "conv2d: dy is shaped like the output");
  return context.backend->conv2d_backward_weight(context, dy, x, weights.weight()->shape, options);
}

Var conv2d(Tape& tape, const Var& x, const ConvWeights& weights, const Conv2dOptions& options, const Var* residual,
           const Var* group_bias, std::optional<DType> dtype) {
  const Context& context = tape.context();
  const bool wants_weight = tape.wants(weights.weight()), wants_bias = tape.wants(weights.bias());
  const auto wants = [](const Var* v) { return v != nullptr && v->requires_grad(); };
  Var y = tape.result(conv2d_forward(context, x.value(), weights, options, residual ? &residual->value() : nullptr,
                                     group_bias ? &group_bias->value() : nullptr, dtype),
                      x.requires_grad() || wants_weight || wants_bias || wants(residual) || wants(group_bias));
  tape.add_changes(weights.weight(), x.value(), y.value(), &options);
  if (!y.requires_grad()) return y;
  tape.record([&context, &weights, options, parameters = tape.parameters(), shape = x.shape(), shape_y = y.shape(),
               kept = wants_weight ? x.value() : Tensor(), dx = x.gradient(),
               dresidual = residual ? residual->gradient() : nullptr,
               dgroup = group_bias ? group_bias->gradient() : nullptr, dy = y.gradient(), wants_bias] {
    if (!dy->tensor.defined()) return;
    const Tensor gradient = dy->tensor.reshape(shape_y);
    Tape::accumulate(context, dresidual, gradient);
    dy->tensor = Tensor();
    if (dgroup) Tape::accumulate(context, dgroup, context.backend->column_sums(context, gradient, shape_y[1] * shape_y[2]));
    if (dx) Tape::accumulate(context, dx, conv2d_backward_input(context, gradient, weights, options, shape));
    if (kept.defined())
      parameters->add(context, *weights.weight(),
                      conv2d_backward_weight(context, gradient, kept, weights, options));
    if (wants_bias) parameters->add(context, *weights.bias(), context.backend->bias_gradient(context, gradient));
  });
  return y;
}

}  // namespace cones
