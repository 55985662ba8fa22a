#include "cpu/kernels/vector_kernels.h"

#include "cpu/kernels/simd_math.h"

namespace cones {
namespace CONES_ISA {
namespace {

// ---- elementwise ----

void add(std::int64_t n, const float* a, const float* b, float* y) {
  sweep(n, [&](std::int64_t i, auto at) { store(y + i, load(a + i, at) + load(b + i, at), at); });
}

template <class F>
void apply(std::int64_t n, const float* x, float* y) {
  sweep(n, [&](std::int64_t i, auto at) { store(y + i, F::value(load(x + i, at)), at); });
}

template <class F>
void apply_backward(std::int64_t n, const float* x, const float* dy, float* dx) {
  sweep(n, [&](std::int64_t i, auto at) {
    store(dx + i, load(dy + i, at) * F::derivative(load(x + i, at)), at);
  });
}

void activation(Activation kind, std::int64_t n, const float* x, float* y) {
  switch (kind) {
    case Activation::silu: return apply<Silu>(n, x, y);
    case Activation::gelu: return apply<Gelu>(n, x, y);
    case Activation::quick_gelu: return apply<QuickGelu>(n, x, y);
    case Activation::gelu_tanh: return apply<GeluTanh>(n, x, y);
    case Activation::relu: return apply<Relu>(n, x, y);
  }
}

void activation_backward(Activation kind, std::int64_t n, const float* x, const float* dy, float* dx) {
  switch (kind) {
    case Activation::silu: return apply_backward<Silu>(n, x, dy, dx);
    case Activation::gelu: return apply_backward<Gelu>(n, x, dy, dx);
    case Activation::quick_gelu: return apply_backward<QuickGelu>(n, x, dy, dx);
    case Activation::gelu_tanh: return apply_backward<GeluTanh>(n, x, dy, dx);
    case Activation::relu: return apply_backward<Relu>(n, x, dy, dx);
  }
}

void geglu(std::int64_t n, const float* value, const float* gate, float* y) {
  sweep(n, [&](std::int64_t i, auto at) {
    store(y + i, load(value + i, at) * Gelu::value(load(gate + i, at)), at);
  });
}

void geglu_backward(std::int64_t n, const float* value, const float* gate, const float* dy, float* dvalue,
                    float* dgate) {
  sweep(n, [&](std::int64_t i, auto at) {
    const vec d = load(dy + i, at), g = load(gate + i, at);
    store(dvalue + i, d * Gelu::value(g), at);
    store(dgate + i, d * load(value + i, at) * Gelu::derivative(g), at);
  });
}

// ---- channel-wise normalisation ----

/// f(c, access, count) for groups of `count` ∈ {4, 1} neighbouring vectors of channels: four independent chains of
/// additions hide their latency.
template <class F>
CONES_INLINE void sweep_channels(std::int64_t channels, F f) {
  std::int64_t c = 0;
  for (; c + 4 * kLanes <= channels; c += 4 * kLanes) f.template operator()<4>(c, Full{});
  for (; c + kLanes <= channels; c += kLanes) f.template operator()<1>(c, Full{});
  if (c < channels) f.template operator()<1>(c, Part(channels - c));
}

/// sums[c] = Σ_r f(r, c, access), read in the order of memory, four rows at a time; f must not depend on sums.
template <class F>
CONES_INLINE void sum_rows(std::int64_t rows, std::int64_t channels, float* sums, F f) {
  sweep(channels, [&](std::int64_t c, auto at) { store(sums + c, set(0.0f), at); });
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4)
    sweep(channels, [&](std::int64_t c, auto at) {
      const vec four = (f(r, c, at) + f(r + 1, c, at)) + (f(r + 2, c, at) + f(r + 3, c, at));
      store(sums + c, load(sums + c, at) + four, at);
    });
  for (; r < rows; ++r)
    sweep(channels, [&](std::int64_t c, auto at) { store(sums + c, load(sums + c, at) + f(r, c, at), at); });
}

void channel_moments(std::int64_t rows, std::int64_t channels, const float* x, float* mean, float* m2) {
  // The first row is subtracted, so that a large common offset costs no precision.
  sum_rows(rows, channels, mean, [&](std::int64_t r, std::int64_t c, auto at) {
    return load(x + r * channels + c, at) - load(x + c, at);
  });
  const vec scale = set(1.0f / static_cast<float>(rows));
  sweep(channels, [&](std::int64_t c, auto at) {
    store(mean + c, fma(load(mean + c, at), scale, load(x + c, at)), at);
  });
  sum_rows(rows, channels, m2, [&](std::int64_t r, std::int64_t c, auto at) {
    const vec deviation = load(x + r * channels + c, at) - load(mean + c, at);
    return deviation * deviation;
  });
}

void normalize_channels(std::int64_t rows, std::int64_t channels, const float* x, const float* mean,
                        const float* scale, const float* shift, bool silu, float* y) {
  for (std::int64_t r = 0; r < rows; ++r, x += channels, y += channels) {
    const auto normalized = [&](std::int64_t c, auto at) {
      return fma(load(x + c, at) - load(mean + c, at), load(scale + c, at), load(shift + c, at));
    };
    if (silu)
      sweep(channels, [&](std::int64_t c, auto at) { store(y + c, Silu::value(normalized(c, at)), at); });
    else
      sweep(channels, [&](std::int64_t c, auto at) { store(y + c, normalized(c, at), at); });
  }
}

void normalize_channels_backward(std::int64_t rows, std::int64_t channels, const float* x, const float* dy,
                                 const float* mean, const float* scale, const float* shift, bool silu, float* dz,
                                 float* sum, float* dot) {
  sweep_channels(channels, [&]<int count>(std::int64_t c, auto at) {
    vec sums[count], dots[count];
    for (int j = 0; j < count; ++j) sums[j] = dots[j] = set(0.0f);
    for (std::int64_t r = 0; r < rows; ++r)
      for (int j = 0; j < count; ++j) {
        const std::int64_t k = c + j * kLanes, i = r * channels + k;
        const vec deviation = load(x + i, at) - load(mean + k, at);
        vec d = load(dy + i, at);
        if (silu) d = d * Silu::derivative(fma(deviation, load(scale + k, at), load(shift + k, at)));
        store(dz + i, d, at);
        sums[j] = sums[j] + d;
        dots[j] = fma(d, deviation, dots[j]);
      }
    for (int j = 0; j < count; ++j) {
      store(sum + c + j * kLanes, sums[j], at);
      store(dot + c + j * kLanes, dots[j], at);
    }
  });
}

void combine_channels(std::int64_t rows, std::int64_t channels, const float* x, const float* dz, const float* mean,
                      const float* a, const float* b, const float* d, float* dx) {
  for (std::int64_t r = 0; r < rows; ++r, x += channels, dz += channels, dx += channels)
    sweep(channels, [&](std::int64_t c, auto at) {
      const vec offset = fma(load(x + c, at) - load(mean + c, at), load(b + c, at), load(d + c, at));
      store(dx + c, fma(load(dz + c, at), load(a + c, at), offset), at);
    });
}

// ---- layer norm ----

/// Σ f(i, access) over a row, in four chains.
template <class F>
CONES_INLINE float sum_row(std::int64_t n, F f) {
  vec sums[4] = {set(0.0f), set(0.0f), set(0.0f), set(0.0f)};
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes)
    for (int j = 0; j < 4; ++j) sums[j] = sums[j] + f(i + j * kLanes, Full{});
  for (; i + kLanes <= n; i += kLanes) sums[0] = sums[0] + f(i, Full{});
  if (i < n) sums[1] = sums[1] + keep(f(i, Part(n - i)), Part(n - i));
  return sum_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

void layer_norm(std::int64_t rows, std::int64_t channels, const float* x, const float* weight, const float* bias,
                float eps, float* y, float* statistics) {
  const float scale = 1.0f / static_cast<float>(channels);
  for (std::int64_t r = 0; r < rows; ++r, x += channels, y += channels) {
    // The first element is subtracted, so that a large common offset costs no precision.
    const vec first = set(x[0]);
    const float mean =
        x[0] + scale * sum_row(channels, [&](std::int64_t c, auto at) { return load(x + c, at) - first; });
    const vec m = set(mean);
    const float variance = scale * sum_row(channels, [&](std::int64_t c, auto at) {
                             const vec deviation = load(x + c, at) - m;
                             return deviation * deviation;
                           });
    // 1/√∞ = 0 would make an overflow look like the bias: ∞ − ∞ is NaN.
    const float rstd = 1.0f / __builtin_sqrtf(variance + eps) + (variance - variance);
    const vec s = set(rstd);
    sweep(channels, [&](std::int64_t c, auto at) {
      store(y + c, fma((load(x + c, at) - m) * s, load(weight + c, at), load(bias + c, at)), at);
    });
    if (statistics != nullptr) {
      statistics[2 * r] = mean;
      statistics[2 * r + 1] = rstd;
    }
  }
}

void layer_norm_backward(std::int64_t rows, std::int64_t channels, const float* x, const float* dy,
                         const float* weight, const float* statistics, float* dx) {
  const float scale = 1.0f / static_cast<float>(channels);
  for (std::int64_t r = 0; r < rows; ++r, x += channels, dy += channels, dx += channels) {
    // With g = dy · weight and x̂ the normalised row: dx = rstd (g − mean(g) − x̂ mean(g x̂)).
    const vec m = set(statistics[2 * r]), s = set(statistics[2 * r + 1]);
    const auto g = [&](std::int64_t c, auto at) { return load(dy + c, at) * load(weight + c, at); };
    const auto normalized = [&](std::int64_t c, auto at) { return (load(x + c, at) - m) * s; };
    const vec mean = set(scale * sum_row(channels, g));
    const vec dot = set(
        scale * sum_row(channels, [&](std::int64_t c, auto at) { return g(c, at) * normalized(c, at); }));
    sweep(channels, [&](std::int64_t c, auto at) {
      store(dx + c, s * (g(c, at) - mean - normalized(c, at) * dot), at);
    });
  }
}

void layer_norm_weight_gradients(std::int64_t rows, std::int64_t channels, const float* x, const float* dy,
                                 const float* statistics, float* dweight, float* dbias) {
  for (std::int64_t r = 0; r < rows; ++r, x += channels, dy += channels) {
    const vec m = set(statistics[2 * r]), s = set(statistics[2 * r + 1]);
    sweep(channels, [&](std::int64_t c, auto at) {
      const vec d = load(dy + c, at);
      store(dweight + c, fma(d, (load(x + c, at) - m) * s, load(dweight + c, at)), at);
      store(dbias + c, load(dbias + c, at) + d, at);
    });
  }
}

// ---- softmax ----

void softmax_panel(std::int64_t keys, int columns, int width, float* s, float* maximum, float* sum,
                   float* correction) {
  for (int c = 0; c < columns; c += kLanes) {
    float* const panel = s + c;
    const vec before = load(maximum + c, Full{});
    vec even = before, odd = before;
    std::int64_t r = 0;
    for (; r + 2 <= keys; r += 2) {
      even = max(even, load(panel + r * width, Full{}));
      odd = max(odd, load(panel + (r + 1) * width, Full{}));
    }
    if (r < keys) even = max(even, load(panel + r * width, Full{}));
    const vec now = max(even, odd);

    even = odd = set(0.0f);
    const auto probability = [&](std::int64_t row) {
      const vec p = exp2(load(panel + row * width, Full{}) - now);
      store(panel + row * width, p, Full{});
      return p;
    };
    for (r = 0; r + 2 <= keys; r += 2) {
      even = even + probability(r);
      odd = odd + probability(r + 1);
    }
    if (r < keys) even = even + probability(r);
    const vec factor = exp2(before - now);
    store(maximum + c, now, Full{});
    store(correction + c, factor, Full{});
    store(sum + c, fma(load(sum + c, Full{}), factor, even + odd), Full{});
  }
}

void scale_panel(std::int64_t count, int columns, int width, float* rows, const float* factor) {
  for (std::int64_t r = 0; r < count; ++r, rows += width)
    for (int c = 0; c < columns; c += kLanes)
      store(rows + c, load(rows + c, Full{}) * load(factor + c, Full{}), Full{});
}

void scale_add_panel(std::int64_t count, int columns, int width, float* rows, const float* factor,
                     const float* addend) {
  for (std::int64_t r = 0; r < count; ++r, rows += width, addend += width)
    for (int c = 0; c < columns; c += kLanes)
      store(rows + c, fma(load(rows + c, Full{}), load(factor + c, Full{}), load(addend + c, Full{})), Full{});
}

void softmax_panel_backward(std::int64_t keys, int columns, int width, float* s, float* ds, const float* logsumexp2,
                            const float* delta) {
  for (std::int64_t r = 0; r < keys; ++r, s += width, ds += width)
    for (int c = 0; c < columns; c += kLanes) {
      const vec p = exp2(load(s + c, Full{}) - load(logsumexp2 + c, Full{}));
      store(s + c, p, Full{});
      store(ds + c, p * (load(ds + c, Full{}) - load(delta + c, Full{})), Full{});
    }
}

// ---- transposition, by tiles of 8 × 8: each cache line is read once, whatever the stride ----

#if defined(CONES_ISA_AVX512) || defined(CONES_ISA_AVX2)
void transpose_tile(const float* source, std::int64_t source_stride, float factor, float* target,
                    std::int64_t target_stride) {
  __m256 row[8], pair[8];
  for (int i = 0; i < 8; ++i)
    row[i] = _mm256_mul_ps(_mm256_loadu_ps(source + i * source_stride), _mm256_set1_ps(factor));
  for (int i = 0; i < 8; i += 2) {  // 2 × 2 within each half of a register, then 4 × 4, then the halves
    pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
    pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; ++j) {
      row[i + 2 * j] = _mm256_shuffle_ps(pair[i + j], pair[i + j + 2], 0x44);
      row[i + 2 * j + 1] = _mm256_shuffle_ps(pair[i + j], pair[i + j + 2], 0xee);
    }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(target + i * target_stride, _mm256_permute2f128_ps(row[i], row[i + 4], 0x20));
    _mm256_storeu_ps(target + (i + 4) * target_stride, _mm256_permute2f128_ps(row[i], row[i + 4], 0x31));
  }
}
#else
void transpose_tile(const float* source, std::int64_t source_stride, float factor, float* target,
                    std::int64_t target_stride) {
  for (int i = 0; i < 8; ++i)
    for (int j = 0; j < 8; ++j) target[i * target_stride + j] = factor * source[j * source_stride + i];
}
#endif

void transpose(std::int64_t rows, std::int64_t columns, const float* source, std::int64_t source_stride, float factor,
               float* target, std::int64_t target_stride) {
  const std::int64_t whole_rows = rows / 8 * 8, whole_columns = columns / 8 * 8;
  for (std::int64_t r = 0; r < whole_rows; r += 8)
    for (std::int64_t c = 0; c < whole_columns; c += 8)
      transpose_tile(source + r * source_stride + c, source_stride, factor, target + c * target_stride + r,
                     target_stride);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c)
      target[c * target_stride + r] = factor * source[r * source_stride + c];
}

}  // namespace
}  // namespace CONES_ISA

#define CONES_JOIN_(a, b) a##b
#define CONES_JOIN(a, b) CONES_JOIN_(a, b)

extern const VectorKernels CONES_JOIN(vector_kernels_, CONES_ISA);
const VectorKernels CONES_JOIN(vector_kernels_, CONES_ISA) = {
    .add = CONES_ISA::add,
    .activation = CONES_ISA::activation,
    .activation_backward = CONES_ISA::activation_backward,
    .geglu = CONES_ISA::geglu,
    .geglu_backward = CONES_ISA::geglu_backward,
    .channel_moments = CONES_ISA::channel_moments,
    .normalize_channels = CONES_ISA::normalize_channels,
    .normalize_channels_backward = CONES_ISA::normalize_channels_backward,
    .combine_channels = CONES_ISA::combine_channels,
    .layer_norm = CONES_ISA::layer_norm,
    .layer_norm_backward = CONES_ISA::layer_norm_backward,
    .layer_norm_weight_gradients = CONES_ISA::layer_norm_weight_gradients,
    .softmax_panel = CONES_ISA::softmax_panel,
    .scale_panel = CONES_ISA::scale_panel,
    .scale_add_panel = CONES_ISA::scale_add_panel,
    .softmax_panel_backward = CONES_ISA::softmax_panel_backward,
    .transpose = CONES_ISA::transpose,
};

}  // namespace cones
