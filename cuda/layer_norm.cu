#include "layer_norm.h"

#include "norm_weight_sums.h"
#include "row_blocks.cuh"

namespace cones::cuda {
namespace {

constexpr int kLayerNormWarps = 4;  // a row each

/// f(c) for the first channel of every piece of this lane.
template <int kWidth, class F>
DEVICE void for_each_row_piece(std::int64_t channels, const F& f) {
  for (std::int64_t c = dev::thread() % 32 * kWidth; c < channels; c += 32 * kWidth) f(c);
}

/// One warp per row. The row is read three times: it stays in the first-level cache.
template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kLayerNormWarps * 32) layer_norm_kernel(LayerNormForwardArgs a) {
  const std::int64_t row = std::int64_t{dev::block_x()} * kLayerNormWarps + dev::thread() / 32;
  if (row >= a.rows) return;
  const T* x = static_cast<const T*>(a.x) + row * a.channels;
  T* y = static_cast<T*>(a.y) + row * a.channels;
  const float share = 1.0f / static_cast<float>(a.channels);

  // The first element is subtracted, so that a large common offset costs no precision.
  const float first = dev::to_float(x[0]);
  float sum = 0;
  for_each_row_piece<kWidth>(a.channels, [&](std::int64_t c) {
    float v[kWidth];
    load_values(x + c, v);
    UNROLL for (int k = 0; k < kWidth; ++k) sum += v[k] - first;
  });
  const float mean = first + share * dev::warp_sum(sum);

  float squares = 0;
  for_each_row_piece<kWidth>(a.channels, [&](std::int64_t c) {
    float v[kWidth];
    load_values(x + c, v);
    UNROLL for (int k = 0; k < kWidth; ++k) squares = dev::fma(v[k] - mean, v[k] - mean, squares);
  });
  const float variance = share * dev::warp_sum(squares);
  // 1/√∞ = 0 would make an overflow look like the bias.
  const float rstd = dev::is_finite(variance) ? 1.0f / dev::square_root(variance + a.eps) : dev::float_of(0x7fffffffu);

  for_each_row_piece<kWidth>(a.channels, [&](std::int64_t c) {
    float v[kWidth], weight[kWidth], bias[kWidth];
    load_values(x + c, v);
    load_values(a.weight + c, weight);
    load_values(a.bias + c, bias);
    UNROLL for (int k = 0; k < kWidth; ++k) v[k] = dev::fma((v[k] - mean) * rstd, weight[k], bias[k]);
    store_values(y + c, v);
  });
  if (a.statistics != nullptr && dev::thread() % 32 == 0) {
    a.statistics[2 * row] = mean;
    a.statistics[2 * row + 1] = rstd;
  }
}

/// With g = dy · weight and x̂ the normalised row: dx = rstd (g − mean(g) − x̂ mean(g x̂)).
template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kLayerNormWarps * 32) layer_norm_backward_kernel(LayerNormBackwardArgs a) {
  const std::int64_t row = std::int64_t{dev::block_x()} * kLayerNormWarps + dev::thread() / 32;
  if (row >= a.rows) return;
  const T* x = static_cast<const T*>(a.x) + row * a.channels;
  const T* dy = static_cast<const T*>(a.dy) + row * a.channels;
  T* dx = static_cast<T*>(a.dx) + row * a.channels;
  const float share = 1.0f / static_cast<float>(a.channels);
  const float mean = a.statistics[2 * row], rstd = a.statistics[2 * row + 1];

  /// f(k, g, x̂) for the values of the piece at c.
  const auto each = [&](std::int64_t c, const auto& f) {
    float v[kWidth], g[kWidth], weight[kWidth];
    load_values(x + c, v);
    load_values(dy + c, g);
    load_values(a.weight + c, weight);
    UNROLL for (int k = 0; k < kWidth; ++k) f(k, g[k] * weight[k], (v[k] - mean) * rstd);
  };
  float sum = 0, dot = 0;
  for_each_row_piece<kWidth>(a.channels, [&](std::int64_t c) {
    each(c, [&](int, float g, float normalised) {
      sum += g;
      dot = dev::fma(g, normalised, dot);
    });
  });
  sum = share * dev::warp_sum(sum);
  dot = share * dev::warp_sum(dot);
  for_each_row_piece<kWidth>(a.channels, [&](std::int64_t c) {
    float d[kWidth];
    each(c, [&](int k, float g, float normalised) { d[k] = rstd * (g - sum - normalised * dot); });
    store_values(dx + c, d);
  });
}

/// Per chunk of rows and channel: Σ dy · x̂ and Σ dy, as pairs [chunks, channels, 2].
template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kRowThreads) layer_norm_weights_kernel(RowBlocks cut, const T* dy, const T* x, const float* statistics,
                                                           float* pairs) {
  const RowPlace p = RowPlace::here(cut, Width<kWidth>());
  float dot[kWidth] = {}, sum[kWidth] = {};
  if (p.active)
    for (int r = p.lane; r < p.rows; r += cut.lanes) {
      const std::int64_t row = p.first_row + r, at = row * cut.channels + p.channel();
      const float mean = statistics[2 * row], rstd = statistics[2 * row + 1];
      float v[kWidth], d[kWidth];
      load_values(x + at, v);
      load_values(dy + at, d);
      UNROLL for (int k = 0; k < kWidth; ++k) {
        dot[k] = dev::fma(d[k], (v[k] - mean) * rstd, dot[k]);
        sum[k] += d[k];
      }
    }
  const LaneSums sums{reinterpret_cast<float*>(dev::shared()), cut.stripe};
  sums.put(p, dot, sum);
  dev::sync();
  store_lane_sums(cut, p, sums, pairs);
}

}  // namespace

int layer_norm_forward(Stream* stream, const LayerNormForwardArgs& args) {
  if (args.rows <= 0 || args.channels <= 0) return kInvalid;
  const bool wide = args.channels % 8 == 0 && aligned16(args.x, args.weight, args.bias, args.y);
  return with_type(args.type, [&](auto type) {
    return with_width(wide, [&](auto width) {
      return launch(stream, layer_norm_kernel<decltype(type), width.value>, {divide_up(args.rows, kLayerNormWarps)},
                    kLayerNormWarps * 32, 0, args);
    });
  });
}

std::size_t layer_norm_backward_scratch(std::int64_t rows, std::int64_t channels) {
  return sizeof(float) * 2 * static_cast<std::size_t>(chunks_of(rows) * channels);
}

int layer_norm_backward(Stream* stream, const LayerNormBackwardArgs& args) {
  if (args.rows <= 0 || args.channels <= 0) return kInvalid;
  const bool wide = args.channels % 8 == 0 && aligned16(args.dy, args.x, args.weight, args.dx);
  return with_type(args.type, [&](auto type) {
    using T = decltype(type);
    return with_width(wide, [&](auto width) {
      int status = 0;
      if (args.dx != nullptr)
        status = launch(stream, layer_norm_backward_kernel<T, width.value>, {divide_up(args.rows, kLayerNormWarps)},
                        kLayerNormWarps * 32, 0, args);
      if (status != 0 || (args.dweight == nullptr && args.dbias == nullptr)) return status;
      float* pairs = static_cast<float*>(args.scratch);
      const RowBlocks cut(args.rows, args.channels, width.value);
      status = launch(stream, layer_norm_weights_kernel<T, width.value>, {cut.blocks(1)}, kRowThreads, cut.shared_bytes(), cut,
                      static_cast<const T*>(args.dy), static_cast<const T*>(args.x), args.statistics, pairs);
      if (status != 0) return status;
      return norm_weight_sums(stream, pairs, cut.chunks, args.channels, args.scale, args.dweight, args.dbias);
    });
  });
}

}  // namespace cones::cuda
