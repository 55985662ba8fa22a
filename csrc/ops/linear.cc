#include "ops/linear.h"

#include <algorithm>

#include "base/error.h"

namespace cones {
namespace {

Tensor read_all(const Context& context, const Parameter& parameter) {
  Tensor values = context.empty(parameter.shape);
  if (!context.planning()) parameter.read(0, parameter.size(), values.data());
  return values;
}

PackedMatrix pack_forward(const Context& context, const Parameter& weight, index_t in, index_t out) {
  return PackedMatrix::from_runs(context, in, out, [&](index_t n, index_t count, int, float* columns) {
    weight.read(n * in, (n + count) * in, columns);
  });
}

PackedMatrix pack_backward(const Context& context, const Parameter& weight, index_t in, index_t out) {
  PackedMatrix packed(context, out, in);
  constexpr index_t rows = 32;  // of a read
  const Tensor scratch = context.empty({context.pool->threads(), rows, in});
  if (context.planning()) return packed;
  context.parallel((out + rows - 1) / rows, 1, [&](index_t begin, index_t end, int lane) {
    float* const run = scratch.data() + lane * rows * in;
    for (index_t first = begin * rows, last = std::min(end * rows, out); first < last; first += rows) {
      const index_t count = std::min(rows, last - first);
      weight.read(first * in, (first + count) * in, run);
      for (index_t r = 0; r < count; ++r) packed.set_row(first + r, run + r * in);
    }
  });
  return packed;
}

// The shape of x with another last dimension.
Shape with_columns(const Shape& shape, index_t columns) {
  switch (shape.rank()) {
    case 1: return {columns};
    case 2: return {shape[0], columns};
    case 3: return {shape[0], shape[1], columns};
    default: return {shape[0], shape[1], shape[2], columns};
  }
}

}  // namespace

LinearWeights::LinearWeights(const Context& context, const Parameter* weight, const Parameter* bias)
    : weight_(weight),
      bias_(bias),
      in_(weight->size() / weight->shape[0]),
      out_(weight->shape[0]),
      forward_(pack_forward(context, *weight, in_, out_)),
      backward_([weight, in = in_, out = out_](const Context& used) { return pack_backward(used, *weight, in, out); }) {
  check(bias == nullptr || bias->size() == out_, "a linear layer's bias has one value per output");
  if (bias) bias_values_ = read_all(context, *bias);
}

Tensor linear_forward(const Context& context, const Tensor& x, const LinearWeights& weights, const Tensor* residual) {
  check(x.columns() == weights.in(), "linear: the last dimension of x is the layer's input size");
  Tensor y = context.empty(with_columns(x.shape(), weights.out()));
  check(residual == nullptr || residual->size() == y.size(), "linear: the residual is shaped like the output");
  gemm(context, x.data(), weights.in(), x.rows(), weights.forward(), y.data(), weights.out(),
       {.bias = weights.bias_values().data(), .residual = residual ? residual->data() : nullptr});
  return y;
}

Tensor linear_backward_input(const Context& context, const Tensor& dy, const LinearWeights& weights,
                             const Tensor& onto) {
  check(dy.columns() == weights.out(), "linear: the last dimension of dy is the layer's output size");
  Tensor dx = context.empty(with_columns(dy.shape(), weights.in()));
  check(!onto.defined() || onto.size() == dx.size(), "linear: gradients of one input have one size");
  gemm(context, dy.data(), weights.out(), dy.rows(), weights.backward(context), dx.data(), weights.in(),
       {.residual = onto.data()});
  return dx;
}

Var linear(Tape& tape, const Var& x, const LinearWeights& weights, const Var* residual) {
  const Context& context = tape.context();
  const bool wants_weight = tape.wants(weights.weight()), wants_bias = tape.wants(weights.bias());
  Var y = tape.result(linear_forward(context, x.value(), weights, residual ? &residual->value() : nullptr),
                      x.requires_grad() || wants_weight || wants_bias || (residual && residual->requires_grad()));
  if (!y.requires_grad()) return y;
  tape.record([&context, &weights, shape = x.shape(), parameters = tape.parameters(), kept = wants_weight ? x.value() : Tensor(),
               dx = x.gradient(), dresidual = residual ? residual->gradient() : nullptr, dy = y.gradient(),
               wants_bias] {
    if (!dy->tensor.defined()) return;
    const Tensor gradient = dy->tensor.reshape({dy->tensor.size() / weights.out(), weights.out()});
    Tape::accumulate(context, dresidual, dy->tensor);
    dy->tensor = Tensor();
    if (dx) dx->tensor = linear_backward_input(context, gradient, weights, dx->tensor).reshape(shape);
    if (kept.defined())
      parameters->add_outer(context, *weights.weight(), kept.reshape({kept.rows(), weights.in()}), gradient);
    if (wants_bias) parameters->add(context, *weights.bias(), column_sums(context, gradient));
  });
  return y;
}

}  // namespace cones
