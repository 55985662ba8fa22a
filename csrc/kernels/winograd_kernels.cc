#include "kernels/winograd_kernels.h"

#include "kernels/simd.h"

namespace cones {
namespace CONES_ISA {
namespace {

// Bᵀ along one dimension of four.
CONES_INLINE void transform_input(const vec (&d)[4], vec (&v)[4]) {
  v[0] = d[0] - d[2];
  v[1] = d[1] + d[2];
  v[2] = d[2] - d[1];
  v[3] = d[1] - d[3];
}

// G along one dimension of three.
CONES_INLINE void transform_filter(const vec (&g)[3], vec (&u)[4]) {
  const vec half = set(0.5f), ends = g[0] + g[2];
  u[0] = g[0];
  u[1] = half * (ends + g[1]);
  u[2] = half * (ends - g[1]);
  u[3] = g[2];
}

// Aᵀ along one dimension of four.
CONES_INLINE void transform_output(const vec (&m)[4], vec (&y)[2]) {
  y[0] = m[0] + m[1] + m[2];
  y[1] = m[1] - m[2] - m[3];
}

void input(std::int64_t channels, const float* const* d, std::int64_t offset, float* v, std::int64_t stride) {
  sweep(channels, [&](std::int64_t i, auto access) __attribute__((always_inline)) {
    vec half[4][4];  // [column][row]
#pragma GCC unroll 4
    for (int column = 0; column < 4; ++column) {
      vec pixels[4];
#pragma GCC unroll 4
      for (int row = 0; row < 4; ++row) pixels[row] = load(d[4 * row + column] + offset + i, access);
      transform_input(pixels, half[column]);
    }
#pragma GCC unroll 4
    for (int row = 0; row < 4; ++row) {
      const vec line[4] = {half[0][row], half[1][row], half[2][row], half[3][row]};
      vec out[4];
      transform_input(line, out);
#pragma GCC unroll 4
      for (int column = 0; column < 4; ++column) store(v + (4 * row + column) * stride + i, out[column], access);
    }
  });
}

void filter(std::int64_t count, const float* g, std::int64_t tap_stride, float* u, std::int64_t stride) {
  sweep(count, [&](std::int64_t i, auto access) __attribute__((always_inline)) {
    vec half[3][4];  // [column][row]
#pragma GCC unroll 3
    for (int column = 0; column < 3; ++column) {
      vec taps[3];
#pragma GCC unroll 3
      for (int row = 0; row < 3; ++row) taps[row] = load(g + (3 * row + column) * tap_stride + i, access);
      transform_filter(taps, half[column]);
    }
#pragma GCC unroll 4
    for (int row = 0; row < 4; ++row) {
      const vec line[3] = {half[0][row], half[1][row], half[2][row]};
      vec out[4];
      transform_filter(line, out);
#pragma GCC unroll 4
      for (int column = 0; column < 4; ++column) store(u + (4 * row + column) * stride + i, out[column], access);
    }
  });
}

void output(std::int64_t channels, const float* m, std::int64_t stride, const float* bias, const float* group_bias,
            const float* const* residual, float* const* y) {
  sweep(channels, [&](std::int64_t i, auto access) __attribute__((always_inline)) {
    vec half[4][2];  // [column][row]
#pragma GCC unroll 4
    for (int column = 0; column < 4; ++column) {
      vec products[4];
#pragma GCC unroll 4
      for (int row = 0; row < 4; ++row) products[row] = load(m + (4 * row + column) * stride + i, access);
      transform_output(products, half[column]);
    }
#pragma GCC unroll 2
    for (int row = 0; row < 2; ++row) {
      const vec line[4] = {half[0][row], half[1][row], half[2][row], half[3][row]};
      vec out[2];
      transform_output(line, out);
#pragma GCC unroll 2
      for (int column = 0; column < 2; ++column) {
        float* to = y[2 * row + column];
        if (to == nullptr) continue;
        vec value = out[column];
        if (bias) value = value + load(bias + i, access);
        if (group_bias) value = value + load(group_bias + i, access);
        if (residual) value = value + load(residual[2 * row + column] + i, access);
        store(to + i, value, access);
      }
    }
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
