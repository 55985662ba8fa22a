#include "cpu/kernels/search_kernels.h"

#include "cpu/kernels/simd.h"

namespace cones {
namespace CONES_ISA {
namespace {

CONES_INLINE vec square_root(vec x) {
#if defined(CONES_ISA_AVX512)
  return _mm512_sqrt_ps(x);
#elif defined(CONES_ISA_AVX2)
  return _mm256_sqrt_ps(x);
#else
  return {__builtin_sqrtf(x.x)};
#endif
}

void scale(std::int64_t n, const float* theta, const float* displacement, float* gamma) {
  sweep(n, [&](std::int64_t i, auto at) {
    const vec t = load(theta + i, at);
    store(gamma + i, t - load(displacement + i, at) * t, at);
  });
}

void update(const SearchUpdate& step, std::int64_t n, const float* theta, const float* gradient, float* displacement,
            float* first_moment, float* second_moment, float* score) {
  const vec rate = set(step.rate), rest1 = set(step.rest1), beta2 = set(step.beta2), rest2 = set(step.rest2),
            correction2 = set(step.correction2), epsilon = set(step.epsilon), zero = set(0), one = set(1);
  sweep(n, [&](std::int64_t i, auto at) {
    vec d = load(displacement + i, at);
    const vec xi = one - d;
    vec g = load(theta + i, at) * load(gradient + i, at);
    if (step.algorithm1) g = g * xi;
    store(score + i, load(score + i, at) + g, at);
    if (step.algorithm1) g = g * xi;

    vec move = rate * g;
    if (step.adam) {
      vec m = load(first_moment + i, at), v = load(second_moment + i, at);
      m = m + rest1 * (g - m);
      v = beta2 * v + rest2 * g * g;
      store(first_moment + i, m, at);
      store(second_moment + i, v, at);
      move = rate * m / (square_root(v) * correction2 + epsilon);
    }
    d = d + move;  // ξ −= move
    store(displacement + i, step.clamp ? min(one, max(zero, d)) : d, at);
  });
}

}  // namespace
}  // namespace CONES_ISA

#define CONES_JOIN_(a, b) a##b
#define CONES_JOIN(a, b) CONES_JOIN_(a, b)

extern const SearchKernels CONES_JOIN(search_kernels_, CONES_ISA);
const SearchKernels CONES_JOIN(search_kernels_, CONES_ISA) = {
    .scale = CONES_ISA::scale, .update = CONES_ISA::update};

}  // namespace cones
