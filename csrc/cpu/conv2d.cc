// Implicit matrix multiplication: every tap of the filter is a run of k whose rows are pixels of x, read in place; a pixel
// outside of the picture is a row of zeros.
#include "cpu/conv2d.h"

#include <algorithm>
#include <vector>

#include "cpu/conv2d_few_outputs.h"
#include "cpu/conv2d_rows.h"
#include "cpu/conv2d_winograd.h"
#include "cpu/gemm_blocks.h"
#include "cpu/gemm_outer.h"
#include "cpu/linear.h"

namespace cones {
namespace {

// Inputs with fewer channels than this are gathered (im2col) instead: runs that short do not fill the kernels' loop.
constexpr index_t kFewChannels = 16;

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
  const Tensor gathered = context.empty({cpu_of(context).threads(), kMaxBlockRows, columns});
  a.depth = a.stride = columns;
  a.first_k = {taps.front().first_k};
  a.rows = [&](index_t begin, index_t end, int lane, const float** table) {
    float* const block = gathered.host() + lane * kMaxBlockRows * columns;
    for (std::size_t t = 0; t < taps.size(); ++t) {
      rows.fill(begin, end, taps[t].dy, taps[t].dx, table);
      for (index_t i = 0; i < end - begin; ++i)
        std::copy_n(table[i], channels, block + i * columns + static_cast<index_t>(t) * channels);
    }
    for (index_t i = 0; i < end - begin; ++i) table[i] = block + i * columns;
  };
  multiply_blocks(context, a, b, out, b.n(), epilogue, nullptr);
}

bool is_linear(const CpuConv2d& weights, const Conv2dOptions& o) {
  return weights.taps() == 1 && o.stride == 1 && o.pad_top + o.pad_left + o.pad_bottom + o.pad_right == 0;
}

bool is_3x3(const CpuConv2d& weights, const Conv2dOptions& o) {
  return weights.kernel_h == 3 && weights.kernel_w == 3 && o.stride == 1;
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
  const Tensor scratch = context.empty({cpu_of(context).threads(), filter});
  if (has_few_outputs(in, out, taps))
    return PackedMatrix::from_columns(context, in, taps * out, [&](index_t n, int lane, float* column) {
      float* buffer = scratch.host() + lane * filter;  // [I, taps]
      weight.read(n % out * filter, (n % out + 1) * filter, buffer);
      for (index_t i = 0; i < in; ++i) column[i] = buffer[i * taps + n / out];
    });
  return PackedMatrix::from_columns(context, filter, out, [&](index_t o, int lane, float* column) {
    read_filter(weight, o, scratch.host() + lane * filter, column);
  });
}

PackedMatrix pack_backward(const Context& context, const Parameter& weight) {
  const index_t out = weight.shape[0], in = weight.shape[1], filter = weight.size() / out, taps = filter / in;
  PackedMatrix packed(context, taps * out, in);
  const Tensor scratch = context.empty({cpu_of(context).threads(), 2, filter});
  cpu_of(context).parallel(out, 1, [&](index_t begin, index_t end, int lane) {
    float *buffer = scratch.host() + lane * 2 * filter, *rows = buffer + filter;
    for (index_t o = begin; o < end; ++o) {
      read_filter(weight, o, buffer, rows);
      for (index_t t = 0; t < taps; ++t) packed.set_row(t * out + o, rows + t * in);
    }
  });
  return packed;
}

// The pixels of dx with y ≡ phase_y and x ≡ phase_x (mod stride) all meet the same taps, at whole steps of dy:
// y + pad − kh = stride · oy.
void backward_phase(const Context& context, const Tensor& dy, const PackedMatrix& b, const CpuConv2d& weights,
                    const Conv2dOptions& o, const float* zeros, index_t phase_y, index_t phase_x, Tensor& dx) {
  const Map out(dx.shape());
  std::vector<Tap> taps;
  for (index_t kh = 0; kh < weights.kernel_h; ++kh)
    for (index_t kw = 0; kw < weights.kernel_w; ++kw) {
      const index_t y = phase_y + o.pad_top - kh, x = phase_x + o.pad_left - kw;
      if (y % o.stride == 0 && x % o.stride == 0)
        taps.push_back({y / o.stride, x / o.stride, (kh * weights.kernel_w + kw) * weights.out});
    }
  const index_t height = (out.height - phase_y + o.stride - 1) / o.stride;
  const index_t width = (out.width - phase_x + o.stride - 1) / o.stride;
  const TapRows rows{Map(dy.shape()), dy.host(), zeros, height, width, 1};
  if (o.stride == 1) return convolve(context, rows, taps, b, dx.host(), {});

  if (taps.empty() || height <= 0 || width <= 0) return;  // dx is zero there
  Tensor phase = context.empty({out.batch, height, width, out.channels});
  convolve(context, rows, taps, b, phase.host(), {});
  cpu_of(context).parallel(out.batch * height, 8, [&](index_t begin, index_t end, int) {
    for (index_t i = begin; i < end; ++i) {
      const float* from = phase.host() + i * width * out.channels;
      const index_t y = i % height * o.stride + phase_y, line = (i / height * out.height + y) * out.width;
      for (index_t x = 0; x < width; ++x)
        std::copy_n(from + x * out.channels, out.channels, dx.host() + (line + x * o.stride + phase_x) * out.channels);
    }
  });
}

}  // namespace

CpuConv2d::CpuConv2d(const Context& context, const Parameter& weight, const Parameter* bias_in)
    : in(weight.shape[1]),
      out(weight.shape[0]),
      kernel_h(weight.shape[2]),
      kernel_w(weight.shape[3]),
      forward(pack_forward(context, weight)),
      backward(context, [of = &weight](const Context& used) { return pack_backward(used, *of); }) {
  if (bias_in) bias = read_all(context, *bias_in);
}

PreparedRef Cpu::prepare_conv2d(const Context& context, const Parameter& weight, const Parameter* bias) const {
  return std::make_shared<CpuConv2d>(context, weight, bias);
}

Tensor Cpu::conv2d_forward(const Context& context, const Tensor& x, const Prepared& prepared, const Conv2dOptions& o,
                           const Shape& shape, const Tensor* residual, const Tensor* group_bias, DType) const {
  const CpuConv2d& weights = CpuConv2d::of(prepared);
  Tensor y = context.empty(shape);
  const Map out(y.shape());
  const Epilogue epilogue{.bias = weights.bias.host(),
                          .residual = residual ? residual->host() : nullptr,
                          .group_bias = group_bias ? group_bias->host() : nullptr,
                          .rows_per_group = out.height * out.width};
  if (is_linear(weights, o)) {
    gemm(context, x.host(), weights.in, x.rows(), weights.forward, y.host(), weights.out, epilogue);
    return y;
  }
  if (has_few_outputs(weights.in, weights.out, weights.taps())) {
    const FewOutputs few{Map(x.shape()), weights.kernel_h, weights.kernel_w, o.stride, o.pad_top, o.pad_left,
                         out.height, out.width, out.channels};
    convolve_few_outputs(context, few, x.host(), weights.forward, y.host(), epilogue);
    return y;
  }
  const Tensor zeros = context.zeros({weights.in});
  if (const int tile = is_3x3(weights, o) ? winograd_tile(1, weights.in, weights.out, out.height, out.width) : 0) {
    winograd_convolve(context, tile, Map(x.shape()), x.host(), zeros.host(), weights.forward, false, o.pad_top,
                      o.pad_left, out.height, out.width, y.host(), epilogue);
    return y;
  }
  std::vector<Tap> taps;
  for (index_t kh = 0; kh < weights.kernel_h; ++kh)
    for (index_t kw = 0; kw < weights.kernel_w; ++kw)
      taps.push_back({kh - o.pad_top, kw - o.pad_left, (kh * weights.kernel_w + kw) * weights.in});
  const TapRows rows{Map(x.shape()), x.host(), zeros.host(), out.height, out.width, o.stride};
  convolve(context, rows, taps, weights.forward, y.host(), epilogue);
  return y;
}

Tensor Cpu::conv2d_backward_input(const Context& context, const Tensor& dy, const Prepared& prepared,
                             const Conv2dOptions& o, const Shape& shape) const {
  const CpuConv2d& weights = CpuConv2d::of(prepared);
  const PackedMatrix b = weights.backward.get(context);
  if (is_linear(weights, o)) {
    Tensor dx = context.empty(shape);
    gemm(context, dy.host(), weights.out, dy.rows(), b, dx.host(), weights.in);
    return dx;
  }
  const bool full = weights.kernel_h >= o.stride && weights.kernel_w >= o.stride;  // every pixel meets a tap
  Tensor dx = full ? context.empty(shape) : context.zeros(shape);
  const Tensor zeros = context.zeros({weights.out});
  // Rows that have one loss are never without each other.
  if (const int tile =
          is_3x3(weights, o) ? winograd_tile(shape[0], weights.out, weights.in, shape[1], shape[2]) : 0) {
    winograd_convolve(context, tile, Map(dy.shape()), dy.host(), zeros.host(), b, true, 2 - o.pad_top, 2 - o.pad_left,
                      shape[1], shape[2], dx.host(), {});
    return dx;
  }
  for (index_t phase_y = 0; phase_y < o.stride; ++phase_y)
    for (index_t phase_x = 0; phase_x < o.stride; ++phase_x)
      backward_phase(context, dy, b, weights, o, zeros.host(), phase_y, phase_x, dx);
  return dx;
}

Tensor Cpu::conv2d_backward_weight(const Context& context, const Tensor& dy, const Tensor& x, const Shape& weight,
                              const Conv2dOptions& o) const {
  const index_t in = weight[1], kernel_w = weight[3], count = weight[2] * kernel_w, pixels = dy.rows();
  const Map out(dy.shape());
  Tensor dw = context.empty(weight);
  const Tensor zeros = context.zeros({in});
  const TapRows rows{Map(x.shape()), x.host(), zeros.host(), out.height, out.width, o.stride};
  std::vector<const float*> table(static_cast<std::size_t>(pixels));
  for (index_t t = 0; t < count; ++t) {
    run(1, [&](index_t, int) { rows.fill(0, pixels, t / kernel_w - o.pad_top, t % kernel_w - o.pad_left, table.data()); });
    outer_blocks(context, dy, in, [&](index_t m) { return table[static_cast<std::size_t>(m)]; },
                 [&](index_t row, index_t n, index_t column, index_t columns, const float* tile, index_t stride, int) {
                   for (index_t r = 0; r < n; ++r)
                     for (index_t c = 0; c < columns; ++c)
                       dw.host()[((row + r) * in + column + c) * count + t] = tile[r * stride + c];
                 });
  }
  return dw;
}

}  // namespace cones
