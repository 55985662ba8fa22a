#include "cpu/kernels/winograd_kernels.h"

#include "cpu/kernels/simd.h"

namespace cones {
namespace CONES_ISA {
namespace {

// Each matrix is applied along one dimension, to `kFrom` values, of which it makes `kTo`.

struct F2 {  // the points are 0, ±1, ∞
  struct Input {  // Bᵀ
    static constexpr int kFrom = 4, kTo = 4;
    static CONES_INLINE void apply(const vec (&d)[4], vec (&v)[4]) {
      v[0] = d[0] - d[2];
      v[1] = d[1] + d[2];
      v[2] = d[2] - d[1];
      v[3] = d[1] - d[3];
    }
  };

  struct Filter {  // G
    static constexpr int kFrom = 3, kTo = 4;
    static CONES_INLINE void apply(const vec (&g)[3], vec (&u)[4]) {
      const vec half = set(0.5f), ends = g[0] + g[2];
      u[0] = g[0];
      u[1] = half * (ends + g[1]);
      u[2] = half * (ends - g[1]);
      u[3] = g[2];
    }
  };

  struct Output {  // Aᵀ
    static constexpr int kFrom = 4, kTo = 2;
    static CONES_INLINE void apply(const vec (&m)[4], vec (&y)[2]) {
      y[0] = m[0] + m[1] + m[2];
      y[1] = m[1] - m[2] - m[3];
    }
  };
};

// The points are 0, ±A, ±B, ∞. With these two the error is less than half that of the usual 1 and 2, and all that Bᵀ and Aᵀ
// need of them is exact in fp32.
constexpr double kA = 0.625, kB = 1.5, kAA = kA * kA, kBB = kB * kB;
CONES_INLINE vec constant(double x) { return set(static_cast<float>(x)); }

struct F4 {
  struct Input {  // Bᵀ: coefficients of Π (x − other points)
    static constexpr int kFrom = 6, kTo = 6;
    static CONES_INLINE void apply(const vec (&d)[6], vec (&v)[6]) {
      const vec product = constant(kAA * kBB), sum = constant(-kAA - kBB);
      v[0] = fma(product, d[0], fma(sum, d[2], d[4]));
      v[5] = fma(product, d[1], fma(sum, d[3], d[5]));
      pair(d, constant(kA), constant(-kBB), constant(-kA * kBB), v[1], v[2]);
      pair(d, constant(kB), constant(-kAA), constant(-kB * kAA), v[3], v[4]);
    }
    // The points ±p, where q is the other one.
    static CONES_INLINE void pair(const vec (&d)[6], vec p, vec minus_qq, vec minus_pqq, vec& plus, vec& minus) {
      const vec even = fma(minus_qq, d[2], d[4]), odd = fma(p, d[3], minus_pqq * d[1]);
      plus = even + odd;
      minus = even - odd;
    }
  };

  struct Filter {  // G: the filter's polynomial at each point, over Π (point − other points)
    static constexpr int kFrom = 3, kTo = 6;
    static CONES_INLINE void apply(const vec (&g)[3], vec (&u)[6]) {
      u[0] = constant(1 / (kAA * kBB)) * g[0];
      pair(g, constant(kA), constant(kAA), constant(1 / (2 * kAA * (kAA - kBB))), u[1], u[2]);
      pair(g, constant(kB), constant(kBB), constant(1 / (2 * kBB * (kBB - kAA))), u[3], u[4]);
      u[5] = g[2];
    }
    static CONES_INLINE void pair(const vec (&g)[3], vec p, vec pp, vec scale, vec& plus, vec& minus) {
      const vec even = fma(pp, g[2], g[0]), odd = p * g[1];
      plus = scale * (even + odd);
      minus = scale * (even - odd);
    }
  };

  struct Output {  // Aᵀ: powers of the points
    static constexpr int kFrom = 6, kTo = 4;
    static CONES_INLINE void apply(const vec (&m)[6], vec (&y)[4]) {
      const vec even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
      y[0] = m[0] + even_a + even_b;
      y[1] = fma(constant(kA), odd_a, constant(kB) * odd_b);
      y[2] = fma(constant(kAA), even_a, constant(kBB) * even_b);
      y[3] = fma(constant(kAA * kA), odd_a, fma(constant(kBB * kB), odd_b, m[5]));
    }
  };
};

// Both dimensions of a tile, columns first: get(i) reads element i, row by row, put(i, value) takes one of the result.
template <class Transform, class Get, class Put>
CONES_INLINE void transform(Get get, Put put) {
  constexpr int from = Transform::kFrom, to = Transform::kTo;
  vec half[from][to];  // [column][row]
#pragma GCC unroll 6
  for (int column = 0; column < from; ++column) {
    vec line[from];
#pragma GCC unroll 6
    for (int row = 0; row < from; ++row) line[row] = get(from * row + column);
    Transform::apply(line, half[column]);
  }
#pragma GCC unroll 6
  for (int row = 0; row < to; ++row) {
    vec line[from], out[to];
#pragma GCC unroll 6
    for (int column = 0; column < from; ++column) line[column] = half[column][row];
    Transform::apply(line, out);
#pragma GCC unroll 6
    for (int column = 0; column < to; ++column) put(to * row + column, out[column]);
  }
}

#define CONES_INLINE_LAMBDA __attribute__((always_inline))

template <class F>
void input(std::int64_t channels, const float* const* d, std::int64_t offset, float* v, std::int64_t stride) {
  sweep(channels, [&](std::int64_t c, auto at) CONES_INLINE_LAMBDA {
    transform<typename F::Input>([&](int i) CONES_INLINE_LAMBDA { return load(d[i] + offset + c, at); },
                                 [&](int i, vec value) CONES_INLINE_LAMBDA { store(v + i * stride + c, value, at); });
  });
}

template <class F>
void filter(std::int64_t count, const float* g, std::int64_t tap_stride, float* u, std::int64_t stride) {
  sweep(count, [&](std::int64_t c, auto at) CONES_INLINE_LAMBDA {
    transform<typename F::Filter>([&](int i) CONES_INLINE_LAMBDA { return load(g + i * tap_stride + c, at); },
                                  [&](int i, vec value) CONES_INLINE_LAMBDA { store(u + i * stride + c, value, at); });
  });
}

template <class F>
void output(std::int64_t channels, const float* m, std::int64_t stride, const float* bias, const float* group_bias,
            const float* const* residual, float* const* y) {
  sweep(channels, [&](std::int64_t c, auto at) CONES_INLINE_LAMBDA {
    transform<typename F::Output>([&](int i) CONES_INLINE_LAMBDA { return load(m + i * stride + c, at); },
                                  [&](int i, vec value) CONES_INLINE_LAMBDA {
                                    if (y[i] == nullptr) return;
                                    if (bias) value = value + load(bias + c, at);
                                    if (group_bias) value = value + load(group_bias + c, at);
                                    if (residual) value = value + load(residual[i] + c, at);
                                    store(y[i] + c, value, at);
                                  });
  });
}

template <class F>
constexpr WinogradTransforms kTransforms{.input = input<F>, .filter = filter<F>, .output = output<F>};

}  // namespace
}  // namespace CONES_ISA

#define CONES_JOIN_(a, b) a##b
#define CONES_JOIN(a, b) CONES_JOIN_(a, b)

extern const WinogradKernels CONES_JOIN(winograd_kernels_, CONES_ISA);
const WinogradKernels CONES_JOIN(winograd_kernels_, CONES_ISA) = {
    .f2 = CONES_ISA::kTransforms<CONES_ISA::F2>, .f4 = CONES_ISA::kTransforms<CONES_ISA::F4>};

}  // namespace cones
