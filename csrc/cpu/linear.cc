#include "cpu/linear.h"

#include <algorithm>

namespace cones {
namespace {

PackedMatrix pack_forward(const Context& context, const Parameter& weight, index_t in, index_t out) {
  return PackedMatrix::from_runs(context, in, out, [&](index_t n, index_t count, int, float* columns) {
    weight.read(n * in, (n + count) * in, columns);
  });
}

PackedMatrix pack_backward(const Context& context, const Parameter& weight, index_t in, index_t out) {
  PackedMatrix packed(context, out, in);
  constexpr index_t rows = 32;  // of a read
  const Tensor scratch = context.empty({cpu_of(context).threads(), rows, in});
  cpu_of(context).parallel((out + rows - 1) / rows, 1, [&](index_t begin, index_t end, int lane) {
    float* const run = scratch.host() + lane * rows * in;
    for (index_t first = begin * rows, last = std::min(end * rows, out); first < last; first += rows) {
      const index_t count = std::min(rows, last - first);
      weight.read(first * in, (first + count) * in, run);
      for (index_t r = 0; r < count; ++r) packed.set_row(first + r, run + r * in);
    }
  });
  return packed;
}

}  // namespace

Tensor read_all(const Context& context, const Parameter& parameter) {
  Tensor values = context.empty(parameter.shape);
  cpu_of(context).run(1, [&](index_t, int) { parameter.read(0, parameter.size(), values.host()); });
  return values;
}

CpuLinear::CpuLinear(const Context& context, const Parameter& weight_in, const Parameter* bias_in)
    : weight(&weight_in),
      forward(pack_forward(context, weight_in, weight_in.size() / weight_in.shape[0], weight_in.shape[0])),
      backward(context, [of = &weight_in](const Context& used) {
        return pack_backward(used, *of, of->size() / of->shape[0], of->shape[0]);
      }) {
  if (bias_in) bias = read_all(context, *bias_in);
}

PreparedRef Cpu::prepare_linear(const Context& context, const Parameter& weight, const Parameter* bias) const {
  return std::make_shared<CpuLinear>(context, weight, bias);
}

Tensor Cpu::linear_forward(const Context& context, const Tensor& x, const Prepared& prepared, index_t out,
                           const Tensor* residual, DType) const {
  const CpuLinear& weights = CpuLinear::of(prepared);
  Tensor y = context.empty(x.shape().with_last(out));
  gemm(context, x.host(), x.columns(), x.rows(), weights.forward, y.host(), out,
       {.bias = weights.bias.host(), .residual = residual ? residual->host() : nullptr});
  return y;
}

Tensor Cpu::linear_backward_input(const Context& context, const Tensor& dy, const Prepared& prepared, index_t in,
                                  const Tensor& onto) const {
  Tensor dx = context.empty(dy.shape().with_last(in));
  gemm(context, dy.host(), dy.columns(), dy.rows(), CpuLinear::of(prepared).backward.get(context), dx.host(), in,
       {.residual = onto.host()});
  return dx;
}

}  // namespace cones
