// Implicit matrix multiplication: every tap of the filter is a run of k whose rows are pixels of x, read in place; a pixel
// outside of the picture is a row of zeros.
#include "ops/conv2d.h"

#include <algorithm>

#include "base/error.h"
#include "ops/conv2d_few_outputs.h"
#include "ops/conv2d_rows.h"
#include "ops/conv2d_winograd.h"
#include "ops/gemm_blocks.h"
#include "ops/gemm_outer.h"

namespace cones {
namespace {

// Inputs with fewer channels than this are gathered (im2col) instead: runs that short do not fill the kernels' loop.
constexpr index_t kFewChannels = 16;

Shape output_shape(const Shape& x, const ConvWeights& weights, const Conv2dOptions& o) {
  const Map map(x);
  check(map.channels == weights.in(), "conv2d: x has the layer's input channels");
  const index_t height = map.height + o.pad_top + o.pad_bottom - weights.kernel_h();
  const index_t width = map.width + o.pad_left + o.pad_right - weights.kernel_w();
  check(height >= 0 && width >= 0, "conv2d: the padded picture is at least as large as the filter");
  return {map.batch, height / o.stride + 1, width / o.stride + 1, weights.out()};
}

struct Tap {
  index_t dy, dx;
  index_t first_k;  // row of B
};

// out [grid pixels, N] = Σ over taps of rows(tap) · B[tap]
void convolve(const Context& context, const TapRows& rows, const std::vector<Tap>& taps, const PackedMatrix& b,
              float* out, const Epilogue& epilogue) {
  const index_t channels = rows.map.channels, columns = static_cast<index_t>(taps.size()) * channels;
  PointedOperand a;
  a.m = rows.map.batch * rows.grid_height * rows.grid_width;
  const bool one_run = taps.back().first_k - taps.front().first_k == columns - channels;  // the taps adjoin in B
  if (channels >= kFewChannels || !one_run) {
    a.depth = channels;
    for (const Tap& tap : taps) a.first_k.push_back(tap.first_k);
    a.rows = [&](index_t begin, index_t end, int, const float** table) {
      for (const Tap& tap : taps) {
        rows.fill(begin, end, tap.dy, tap.dx, table);
        table += end - begin;
      }
    };
    return multiply_blocks(context, a, b, out, b.n(), epilogue, nullptr);
  }
  const Tensor gathered = context.empty({context.pool->threads(), kMaxBlockRows, columns});
  a.depth = a.stride = columns;
  a.first_k = {taps.front().first_k};
  a.rows = [&](index_t begin, index_t end, int lane, const float** table) {
    float* const block = gathered.data() + lane * kMaxBlockRows * columns;
    for (std::size_t t = 0; t < taps.size(); ++t) {
      rows.fill(begin, end, taps[t].dy, taps[t].dx, table);
      for (index_t i = 0; i < end - begin; ++i)
        std::copy_n(table[i], channels, block + i * columns + static_cast<index_t>(t) * channels);
    }
    for (index_t i = 0; i < end - begin; ++i) table[i] = block + i * columns;
  };
  multiply_blocks(context, a, b, out, b.n(), epilogue, nullptr);
}

bool is_linear(const ConvWeights& weights, const Conv2dOptions& o) {
  return weights.taps() == 1 && o.stride == 1 && o.pad_top + o.pad_left + o.pad_bottom + o.pad_right == 0;
}

bool is_3x3(const ConvWeights& weights, const Conv2dOptions& o) {
  return weights.kernel_h() == 3 && weights.kernel_w() == 3 && o.stride == 1;
}

// Reads filter o, [I, taps] in the file, as [taps, I] through a buffer of that size.
void read_filter(const Parameter& weight, index_t o, float* buffer, float* out) {
  const index_t in = weight.shape[1], taps = weight.shape[2] * weight.shape[3];
  weight.read(o * in * taps, (o + 1) * in * taps, buffer);
  for (index_t i = 0; i < in; ++i)
    for (index_t t = 0; t < taps; ++t) out[t * in + i] = buffer[i * taps + t];
}

PackedMatrix pack_forward(const Context& context, const Parameter& weight) {
  const index_t out = weight.shape[0], in = weight.shape[1], filter = weight.size() / out, taps = filter / in;
  const Tensor scratch = context.empty({context.pool->threads(), filter});
  if (has_few_outputs(in, out, taps))
    return PackedMatrix::from_columns(context, in, taps * out, [&](index_t n, int lane, float* column) {
      float* buffer = scratch.data() + lane * filter;  // [I, taps]
      weight.read(n % out * filter, (n % out + 1) * filter, buffer);
      for (index_t i = 0; i < in; ++i) column[i] = buffer[i * taps + n / out];
    });
  return PackedMatrix::from_columns(context, filter, out, [&](index_t o, int lane, float* column) {
    read_filter(weight, o, scratch.data() + lane * filter, column);
  });
}

PackedMatrix pack_backward(const Context& context, const Parameter& weight) {
  const index_t out = weight.shape[0], in = weight.shape[1], filter = weight.size() / out, taps = filter / in;
  PackedMatrix packed(context, taps * out, in);
  const Tensor scratch = context.empty({context.pool->threads(), 2, filter});
  if (context.planning()) return packed;
  context.parallel(out, 1, [&](index_t begin, index_t end, int lane) {
    float *buffer = scratch.data() + lane * 2 * filter, *rows = buffer + filter;
    for (index_t o = begin; o < end; ++o) {
      read_filter(weight, o, buffer, rows);
      for (index_t t = 0; t < taps; ++t) packed.set_row(t * out + o, rows + t * in);
    }
  });
  return packed;
}

// The pixels of dx with y ≡ phase_y and x ≡ phase_x (mod stride) all meet the same taps, at whole steps of dy:
// y + pad − kh = stride · oy.
void backward_phase(const Context& context, const Tensor& dy, const PackedMatrix& b, const ConvWeights& weights,
                    const Conv2dOptions& o, const float* zeros, index_t phase_y, index_t phase_x, Tensor& dx) {
  const Map out(dx.shape());
  std::vector<Tap> taps;
  for (index_t kh = 0; kh < weights.kernel_h(); ++kh)
    for (index_t kw = 0; kw < weights.kernel_w(); ++kw) {
      const index_t y = phase_y + o.pad_top - kh, x = phase_x + o.pad_left - kw;
      if (y % o.stride == 0 && x % o.stride == 0)
        taps.push_back({y / o.stride, x / o.stride, (kh * weights.kernel_w() + kw) * weights.out()});
    }
  const index_t height = (out.height - phase_y + o.stride - 1) / o.stride;
  const index_t width = (out.width - phase_x + o.stride - 1) / o.stride;
  const TapRows rows{Map(dy.shape()), dy.data(), zeros, height, width, 1};
  if (o.stride == 1) return convolve(context, rows, taps, b, dx.data(), {});

  if (taps.empty() || height <= 0 || width <= 0) return;  // dx is zero there
  Tensor phase = context.empty({out.batch, height, width, out.channels});
  convolve(context, rows, taps, b, phase.data(), {});
  if (context.planning()) return;
  context.parallel(out.batch * height, 8, [&](index_t begin, index_t end, int) {
    for (index_t i = begin; i < end; ++i) {
      const float* from = phase.data() + i * width * out.channels;
      const index_t y = i % height * o.stride + phase_y, line = (i / height * out.height + y) * out.width;
      for (index_t x = 0; x < width; ++x)
        std::copy_n(from + x * out.channels, out.channels, dx.data() + (line + x * o.stride + phase_x) * out.channels);
    }
  });
}

}  // namespace

ConvWeights::ConvWeights(const Context& context, const Parameter* weight, const Parameter* bias)
    : weight_(weight),
      bias_(bias),
      in_(weight->shape[1]),
      out_(weight->shape[0]),
      kernel_h_(weight->shape[2]),
      kernel_w_(weight->shape[3]),
      forward_(pack_forward(context, *weight)),
      backward_([weight](const Context& used) { return pack_backward(used, *weight); }) {
  check(bias == nullptr || bias->size() == out_, "a convolution's bias has one value per output channel");
  if (!bias) return;
  bias_values_ = context.empty({out_});
  if (!context.planning()) bias->read(0, out_, bias_values_.data());
}

Tensor conv2d_forward(const Context& context, const Tensor& x, const ConvWeights& weights,
                      const Conv2dOptions& o, const Tensor* residual, const Tensor* group_bias) {
  Tensor y = context.empty(output_shape(x.shape(), weights, o));
  const Map out(y.shape());
  check(residual == nullptr || residual->size() == y.size(), "conv2d: the residual is shaped like the output");
  check(group_bias == nullptr || group_bias->size() == out.batch * out.channels,
        "conv2d: the group bias is [B, O]");
  const Epilogue epilogue{.bias = weights.bias_values().data(),
                          .residual = residual ? residual->data() : nullptr,
                          .group_bias = group_bias ? group_bias->data() : nullptr,
                          .rows_per_group = out.height * out.width};
  if (is_linear(weights, o)) {
    gemm(context, x.data(), weights.in(), x.rows(), weights.forward(), y.data(), weights.out(), epilogue);
    return y;
  }
  if (has_few_outputs(weights.in(), weights.out(), weights.taps())) {
    const FewOutputs few{Map(x.shape()), weights.kernel_h(), weights.kernel_w(), o.stride, o.pad_top, o.pad_left,
                         out.height, out.width, out.channels};
    convolve_few_outputs(context, few, x.data(), weights.forward(), y.data(), epilogue);
    return y;
  }
  const Tensor zeros = context.zeros({weights.in()});
  if (const int tile = is_3x3(weights, o) ? winograd_tile(1, weights.in(), weights.out(), out.height, out.width) : 0) {
    winograd_convolve(context, tile, Map(x.shape()), x.data(), zeros.data(), weights.forward(), false, o.pad_top,
                      o.pad_left, out.height, out.width, y.data(), epilogue);
    return y;
  }
  std::vector<Tap> taps;
  for (index_t kh = 0; kh < weights.kernel_h(); ++kh)
    for (index_t kw = 0; kw < weights.kernel_w(); ++kw)
      taps.push_back({kh - o.pad_top, kw - o.pad_left, (kh * weights.kernel_w() + kw) * weights.in()});
  const TapRows rows{Map(x.shape()), x.data(), zeros.data(), out.height, out.width, o.stride};
  convolve(context, rows, taps, weights.forward(), y.data(), epilogue);
  return y;
}

Tensor conv2d_backward_input(const Context& context, const Tensor& dy, const ConvWeights& weights,
                             const Conv2dOptions& o, const Shape& shape) {
  check(dy.shape() == output_shape(shape, weights, o), "conv2d: dy is shaped like the output");
  const PackedMatrix b = weights.backward(context);
  if (is_linear(weights, o)) {
    Tensor dx = context.empty(shape);
    gemm(context, dy.data(), weights.out(), dy.rows(), b, dx.data(), weights.in());
    return dx;
  }
  const bool full = weights.kernel_h() >= o.stride && weights.kernel_w() >= o.stride;  // every pixel meets a tap
  Tensor dx = full ? context.empty(shape) : context.zeros(shape);
  const Tensor zeros = context.zeros({weights.out()});
  // Rows that have one loss are never without each other.
  if (const int tile =
          is_3x3(weights, o) ? winograd_tile(shape[0], weights.out(), weights.in(), shape[1], shape[2]) : 0) {
    winograd_convolve(context, tile, Map(dy.shape()), dy.data(), zeros.data(), b, true, 2 - o.pad_top, 2 - o.pad_left,
                      shape[1], shape[2], dx.data(), {});
    return dx;
  }
  for (index_t phase_y = 0; phase_y < o.stride; ++phase_y)
    for (index_t phase_x = 0; phase_x < o.stride; ++phase_x)
      backward_phase(context, dy, b, weights, o, zeros.data(), phase_y, phase_x, dx);
  return dx;
}

Tensor conv2d_backward_weight(const Context& context, const Tensor& dy, const Tensor& x, const ConvWeights& weights,
                              const Conv2dOptions& o) {
  check(dy.shape() == output_shape(x.shape(), weights, o), "conv2d: dy is shaped like the output");
  const index_t in = weights.in(), count = weights.taps(), pixels = dy.rows();
  const Map out(dy.shape());
  Tensor dw = context.empty(weights.weight()->shape);
  const Tensor zeros = context.zeros({in});
  const TapRows rows{Map(x.shape()), x.data(), zeros.data(), out.height, out.width, o.stride};
  std::vector<const float*> table(static_cast<std::size_t>(pixels));
  for (index_t t = 0; t < count; ++t) {
    if (!context.planning())
      rows.fill(0, pixels, t / weights.kernel_w() - o.pad_top, t % weights.kernel_w() - o.pad_left, table.data());
    outer_blocks(context, dy, in, [&](index_t m) { return table[static_cast<std::size_t>(m)]; },
                 [&](index_t row, index_t n, index_t column, index_t columns, const float* tile, index_t stride, int) {
                   for (index_t r = 0; r < n; ++r)
                     for (index_t c = 0; c < columns; ++c)
                       dw.data()[((row + r) * in + column + c) * count + t] = tile[r * stride + c];
                 });
  }
  return dw;
}

Var conv2d(Tape& tape, const Var& x, const ConvWeights& weights, const Conv2dOptions& options, const Var* residual,
           const Var* group_bias) {
  const Context& context = tape.context();
  const bool wants_weight = tape.wants(weights.weight()), wants_bias = tape.wants(weights.bias());
  const auto wants = [](const Var* v) { return v != nullptr && v->requires_grad(); };
  Var y = tape.result(conv2d_forward(context, x.value(), weights, options, residual ? &residual->value() : nullptr,
                                     group_bias ? &group_bias->value() : nullptr),
                      x.requires_grad() || wants_weight || wants_bias || wants(residual) || wants(group_bias));
  if (!y.requires_grad()) return y;
  tape.record([&context, &weights, options, parameters = tape.parameters(), shape = x.shape(), shape_y = y.shape(),
               kept = wants_weight ? x.value() : Tensor(), dx = x.gradient(),
               dresidual = residual ? residual->gradient() : nullptr,
               dgroup = group_bias ? group_bias->gradient() : nullptr, dy = y.gradient(), wants_bias] {
    if (!dy->tensor.defined()) return;
    const Tensor gradient = dy->tensor.reshape(shape_y);
    Tape::accumulate(context, dresidual, gradient);
    dy->tensor = Tensor();
    if (dgroup) Tape::accumulate(context, dgroup, column_sums(context, gradient, shape_y[1] * shape_y[2]));
    if (dx) Tape::accumulate(context, dx, conv2d_backward_input(context, gradient, weights, options, shape));
    if (kept.defined())
      parameters->add(context, *weights.weight(),
                      conv2d_backward_weight(context, gradient, kept, weights, options));
    if (wants_bias) parameters->add(context, *weights.bias(), column_sums(context, gradient));
  });
  return y;
}

}  // namespace cones
