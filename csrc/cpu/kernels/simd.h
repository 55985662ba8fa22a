// One vector type for all instruction sets, so that each kernel is written once: `vec` holds kLanes floats.
// Included only by *_kernels.cc, which are compiled once per instruction set. Everything is inline in a namespace named
// after the instruction set: the linker must never merge functions compiled for different processors.
#pragma once

#include <cstdint>

#if defined(CONES_ISA_AVX512) || defined(CONES_ISA_AVX2)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12's own header trips it (_mm512_undefined_ps)
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#define CONES_INLINE inline __attribute__((always_inline))

namespace cones::CONES_ISA {

/// Access to all lanes of a vector; Part is access to its first n, 0 ≤ n ≤ kLanes (the others read as zero and are not written).
/// max and min return their second operand where either is NaN, so max(limit, x) lets NaN through.
struct Full {};

#if defined(CONES_ISA_AVX512)

using vec = __m512;
constexpr int kLanes = 16;
struct Part {
  __mmask16 mask;
  CONES_INLINE explicit Part(std::int64_t n) : mask(static_cast<__mmask16>((1u << n) - 1)) {}
};

CONES_INLINE vec set(float x) { return _mm512_set1_ps(x); }
CONES_INLINE vec load(const float* p, Full) { return _mm512_loadu_ps(p); }
CONES_INLINE vec load(const float* p, Part part) { return _mm512_maskz_loadu_ps(part.mask, p); }
CONES_INLINE void store(float* p, vec x, Full) { _mm512_storeu_ps(p, x); }
CONES_INLINE void store(float* p, vec x, Part part) { _mm512_mask_storeu_ps(p, part.mask, x); }
CONES_INLINE vec fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
CONES_INLINE vec max(vec a, vec b) { return _mm512_max_ps(a, b); }
CONES_INLINE vec min(vec a, vec b) { return _mm512_min_ps(a, b); }
CONES_INLINE vec abs(vec a) { return _mm512_abs_ps(a); }
CONES_INLINE vec round(vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
CONES_INLINE vec keep(vec a, Part part) { return _mm512_maskz_mov_ps(part.mask, a); }
/// x · 2^n for integral n in [kLowestPower, 127] and x around 1; zero for n = kLowestPower.
constexpr float kLowestPower = -152;
CONES_INLINE vec scale_by_power(vec x, vec n) { return _mm512_scalef_ps(x, n); }
/// a ≥ 0 ? x : y.
CONES_INLINE vec where_not_negative(vec a, vec x, vec y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_GE_OQ), y, x);
}

#elif defined(CONES_ISA_AVX2)

using vec = __m256;
constexpr int kLanes = 8;
struct Part {
  __m256i mask;
  CONES_INLINE explicit Part(std::int64_t n)
      : mask(_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))) {}
};

CONES_INLINE vec set(float x) { return _mm256_set1_ps(x); }
CONES_INLINE vec load(const float* p, Full) { return _mm256_loadu_ps(p); }
CONES_INLINE vec load(const float* p, Part part) { return _mm256_maskload_ps(p, part.mask); }
CONES_INLINE void store(float* p, vec x, Full) { _mm256_storeu_ps(p, x); }
CONES_INLINE void store(float* p, vec x, Part part) { _mm256_maskstore_ps(p, part.mask, x); }
CONES_INLINE vec fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
CONES_INLINE vec max(vec a, vec b) { return _mm256_max_ps(a, b); }
CONES_INLINE vec min(vec a, vec b) { return _mm256_min_ps(a, b); }
CONES_INLINE vec abs(vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
CONES_INLINE vec round(vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
CONES_INLINE vec keep(vec a, Part part) { return _mm256_and_ps(a, _mm256_castsi256_ps(part.mask)); }
constexpr float kLowestPower = -127;
CONES_INLINE vec scale_by_power(vec x, vec n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}
CONES_INLINE vec where_not_negative(vec a, vec x, vec y) {
  return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_GE_OQ));
}

#else  // scalar: plain C++, the reference for the others

struct vec {
  float x;
};
constexpr int kLanes = 1;
struct Part {
  bool any;
  CONES_INLINE explicit Part(std::int64_t n) : any(n > 0) {}
};

CONES_INLINE vec set(float x) { return {x}; }
CONES_INLINE vec load(const float* p, Full) { return {*p}; }
CONES_INLINE vec load(const float* p, Part part) { return {part.any ? *p : 0}; }
CONES_INLINE void store(float* p, vec x, Full) { *p = x.x; }
CONES_INLINE void store(float* p, vec x, Part part) {
  if (part.any) *p = x.x;
}
CONES_INLINE vec operator+(vec a, vec b) { return {a.x + b.x}; }
CONES_INLINE vec operator-(vec a, vec b) { return {a.x - b.x}; }
CONES_INLINE vec operator*(vec a, vec b) { return {a.x * b.x}; }
CONES_INLINE vec operator/(vec a, vec b) { return {a.x / b.x}; }
CONES_INLINE vec fma(vec a, vec b, vec c) { return {a.x * b.x + c.x}; }
CONES_INLINE vec max(vec a, vec b) { return {a.x > b.x ? a.x : b.x}; }
CONES_INLINE vec min(vec a, vec b) { return {a.x < b.x ? a.x : b.x}; }
CONES_INLINE vec abs(vec a) { return {__builtin_fabsf(a.x)}; }
CONES_INLINE vec round(vec a) {  // to nearest, ties to even, for |a| < 2^22
  const float magic = 12582912.0f;
  return {(a.x + magic) - magic};
}
CONES_INLINE vec keep(vec a, Part part) { return {part.any ? a.x : 0}; }
constexpr float kLowestPower = -127;
CONES_INLINE vec scale_by_power(vec x, vec n) {
  const float shifted = n.x + 12582912.0f;  // 1.5 · 2^23: n now lies in the lowest bits
  std::uint32_t bits;
  __builtin_memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127) << 23;
  float power;
  __builtin_memcpy(&power, &bits, sizeof power);
  return {x.x * power};
}
CONES_INLINE vec where_not_negative(vec a, vec x, vec y) { return a.x >= 0 ? x : y; }

#endif

/// Zeroes the lanes that the access leaves out.
CONES_INLINE vec keep(vec a, Full) { return a; }

/// f(i, access) for every vector of [0, n): access is Full but for a ragged end.
template <class F>
CONES_INLINE void sweep(std::int64_t n, F f) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, Full{});
  if (i < n) f(i, Part(n - i));
}

/// Sum of the lanes, by halves.
CONES_INLINE float sum_lanes(vec x) {
  float lanes[kLanes];
  store(lanes, x, Full{});
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}

}  // namespace cones::CONES_ISA
