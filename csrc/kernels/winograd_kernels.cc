#include "kernels/winograd_kernels.h"

#include "kernels/simd.h"

namespace cones {
namespace CONES_ISA {
namespace {

// The three matrices along one dimension, of `kFrom` values to `kTo`.

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

// Both dimensions of a tile, columns first: get(i) reads element i, row by row, put(i, value) takes one of the result.
template <class Transform, class Get, class Put>
CONES_INLINE void transform(Get get, Put put) {
  constexpr int from = Transform::kFrom, to = Transform::kTo;
  vec half[from][to];  // [column][row]
#pragma GCC unroll 4
  for (int column = 0; column < from; ++column) {
    vec line[from];
#pragma GCC unroll 4
    for (int row = 0; row < from; ++row) line[row] = get(from * row + column);
    Transform::apply(line, half[column]);
  }
#pragma GCC unroll 4
  for (int row = 0; row < to; ++row) {
    vec line[from], out[to];
#pragma GCC unroll 4
    for (int column = 0; column < from; ++column) line[column] = half[column][row];
    Transform::apply(line, out);
#pragma GCC unroll 4
    for (int column = 0; column < to; ++column) put(to * row + column, out[column]);
  }
}

#define CONES_INLINE_LAMBDA __attribute__((always_inline))

void input(std::int64_t channels, const float* const* d, std::int64_t offset, float* v, std::int64_t stride) {
  sweep(channels, [&](std::int64_t c, auto at) CONES_INLINE_LAMBDA {
    transform<Input>([&](int i) CONES_INLINE_LAMBDA { return load(d[i] + offset + c, at); },
                     [&](int i, vec value) CONES_INLINE_LAMBDA { store(v + i * stride + c, value, at); });
  });
}

void filter(std::int64_t count, const float* g, std::int64_t tap_stride, float* u, std::int64_t stride) {
  sweep(count, [&](std::int64_t c, auto at) CONES_INLINE_LAMBDA {
    transform<Filter>([&](int i) CONES_INLINE_LAMBDA { return load(g + i * tap_stride + c, at); },
                      [&](int i, vec value) CONES_INLINE_LAMBDA { store(u + i * stride + c, value, at); });
  });
}

void output(std::int64_t channels, const float* m, std::int64_t stride, const float* bias, const float* group_bias,
            const float* const* residual, float* const* y) {
  sweep(channels, [&](std::int64_t c, auto at) CONES_INLINE_LAMBDA {
    transform<Output>([&](int i) CONES_INLINE_LAMBDA { return load(m + i * stride + c, at); },
                      [&](int i, vec value) CONES_INLINE_LAMBDA {
                        if (y[i] == nullptr) return;
                        if (bias) value = value + load(bias + c, at);
                        if (group_bias) value = value + load(group_bias + c, at);
                        if (residual) value = value + load(residual[i] + c, at);
                        store(y[i] + c, value, at);
                      });
  });
}

}  // namespace
}  // namespace CONES_ISA

#define CONES_JOIN_(a, b) a##b
#define CONES_JOIN(a, b) CONES_JOIN_(a, b)

extern const WinogradKernels CONES_JOIN(winograd_kernels_, CONES_ISA);
const WinogradKernels CONES_JOIN(winograd_kernels_, CONES_ISA) = {
    .input = CONES_ISA::input, .filter = CONES_ISA::filter, .output = CONES_ISA::output};

}  // namespace cones
