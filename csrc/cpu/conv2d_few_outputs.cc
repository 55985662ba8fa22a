#include "cpu/conv2d_few_outputs.h"

namespace cones {
namespace {

constexpr index_t kMaxColumns = 48;  // of P; more outputs fill the vectors of a direct product well enough
constexpr index_t kMinChannels = 16;

// One line of output pixels.
void sum_taps(const FewOutputs& s, const Tensor& products, index_t batch, index_t y, float* out,
              const Epilogue& epilogue, index_t at) {
  const index_t columns = products.columns(), channels = s.out_channels;
  for (index_t x = 0; x < s.out_width; ++x, at += channels) {
    float sum[kMaxColumns] = {};
    for (index_t kh = 0; kh < s.kernel_h; ++kh)
      for (index_t kw = 0; kw < s.kernel_w; ++kw) {
        const index_t in_y = y * s.stride + kh - s.pad_top, in_x = x * s.stride + kw - s.pad_left;
        if (in_y < 0 || in_x < 0 || in_y >= s.map.height || in_x >= s.map.width) continue;
        const float* from = products.host() + ((batch * s.map.height + in_y) * s.map.width + in_x) * columns +
                            (kh * s.kernel_w + kw) * channels;
        for (index_t o = 0; o < channels; ++o) sum[o] += from[o];
      }
    for (index_t o = 0; o < channels; ++o) {
      if (epilogue.bias) sum[o] += epilogue.bias[o];
      if (epilogue.group_bias) sum[o] += epilogue.group_bias[batch * channels + o];
      if (epilogue.residual) sum[o] += epilogue.residual[at + o];
      out[at + o] = sum[o];
    }
  }
}

}  // namespace

bool has_few_outputs(index_t in, index_t out, index_t taps) {
  return taps > 1 && out * taps <= kMaxColumns && in >= kMinChannels;
}

void convolve_few_outputs(const Context& context, const FewOutputs& s, const float* data, const PackedMatrix& b,
                          float* out, const Epilogue& epilogue) {
  const index_t pixels = s.map.batch * s.map.height * s.map.width, lines = s.map.batch * s.out_height;
  const Tensor products = context.empty({pixels, b.n()});
  gemm(context, data, s.map.channels, pixels, b, products.host(), b.n());
  cpu_of(context).parallel(lines, 1 + (1 << 14) / (s.out_width * b.n()), [&](index_t begin, index_t end, int) {
    for (index_t line = begin; line < end; ++line)
      sum_taps(s, products, line / s.out_height, line % s.out_height, out, epilogue,
               line * s.out_width * s.out_channels);
  });
}

}  // namespace cones
