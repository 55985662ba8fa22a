// What kernels may use of the GPU, as functions: once for nvcc, and once (test/emulator/emulator.h) for g++, so that the same
// kernels run on a processor. Kernels contain no PTX, no CUDA intrinsics and no static __shared__ of their own.
#pragma once

#include <cstdint>

#ifndef __CUDACC__
#include "emulator.h"
#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define KERNEL __global__
#define DEVICE __device__ __forceinline__
#define LAUNCH_BOUNDS(...) __launch_bounds__(__VA_ARGS__)
#define GRID_CONSTANT __grid_constant__
#define UNROLL _Pragma("unroll")

namespace dev {

using half = __half;
using bf16 = __nv_bfloat16;

// ---- who am I ----
DEVICE int thread() { return static_cast<int>(threadIdx.x); }
DEVICE int threads() { return static_cast<int>(blockDim.x); }
DEVICE int block_x() { return static_cast<int>(blockIdx.x); }
DEVICE int block_y() { return static_cast<int>(blockIdx.y); }
DEVICE int block_z() { return static_cast<int>(blockIdx.z); }
DEVICE int grid_x() { return static_cast<int>(gridDim.x); }
DEVICE int grid_y() { return static_cast<int>(gridDim.y); }
DEVICE int grid_z() { return static_cast<int>(gridDim.z); }

// ---- shared memory: what the launch asked for, aligned to 1024 bytes ----
DEVICE char* shared() {
  extern __shared__ __align__(1024) char memory[];
  return memory;
}
DEVICE std::uint32_t address(const void* p) { return static_cast<std::uint32_t>(__cvta_generic_to_shared(p)); }

// ---- barriers ----
DEVICE void sync() { __syncthreads(); }
DEVICE void sync_warp() { __syncwarp(); }
/// Barrier `id` (1 … 15) for `count` threads of the block, a multiple of 32.
DEVICE void sync_some(int id, int count) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(count) : "memory"); }
/// What this thread wrote before is seen by every thread that sees what it writes after.
DEVICE void fence() { __threadfence(); }

// ---- numbers ----
DEVICE float to_float(half v) { return __half2float(v); }
DEVICE float to_float(bf16 v) { return __bfloat162float(v); }
DEVICE float to_float(float v) { return v; }
template <class T>
DEVICE T from_float(float v);
template <>
DEVICE half from_float<half>(float v) { return __float2half_rn(v); }
template <>
DEVICE bf16 from_float<bf16>(float v) { return __float2bfloat16_rn(v); }
template <>
DEVICE float from_float<float>(float v) { return v; }
/// Two values as one word, the first in the low half.
template <class T>
DEVICE std::uint32_t pack(float low, float high);
template <>
DEVICE std::uint32_t pack<half>(float low, float high) {
  const __half2 v = __floats2half2_rn(low, high);
  return reinterpret_cast<const std::uint32_t&>(v);
}
template <>
DEVICE std::uint32_t pack<bf16>(float low, float high) {
  const __nv_bfloat162 v = __floats2bfloat162_rn(low, high);
  return reinterpret_cast<const std::uint32_t&>(v);
}
struct Pair {
  float low, high;
};
template <class T>
DEVICE Pair unpack(std::uint32_t word);
template <>
DEVICE Pair unpack<half>(std::uint32_t word) {
  const float2 v = __half22float2(reinterpret_cast<const __half2&>(word));
  return {v.x, v.y};
}
template <>
DEVICE Pair unpack<bf16>(std::uint32_t word) {
  const float2 v = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(word));
  return {v.x, v.y};
}
// Correctly rounded and never contracted: the CPU's bits.
DEVICE float multiply(float a, float b) { return __fmul_rn(a, b); }
DEVICE float add(float a, float b) { return __fadd_rn(a, b); }
DEVICE float subtract(float a, float b) { return __fsub_rn(a, b); }
DEVICE float divide(float a, float b) { return __fdiv_rn(a, b); }
DEVICE float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEVICE float square_root(float a) { return __fsqrt_rn(a); }
DEVICE double multiply(double a, double b) { return __dmul_rn(a, b); }
DEVICE double add(double a, double b) { return __dadd_rn(a, b); }
DEVICE double subtract(double a, double b) { return __dsub_rn(a, b); }
DEVICE double divide(double a, double b) { return __ddiv_rn(a, b); }
DEVICE double square_root(double a) { return __dsqrt_rn(a); }
// Within an ulp or two.
DEVICE float exponential(float x) { return expf(x); }
DEVICE float error_function(float x) { return erff(x); }
DEVICE float hyperbolic_tangent(float x) { return tanhf(x); }
DEVICE float log2(float x) { return log2f(x); }
DEVICE double exponential(double x) { return exp(x); }
/// 2^x, within 2⁻²² relative; results below 2⁻¹²⁶ are zero.
DEVICE float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
DEVICE bool is_finite(float x) { return isfinite(x); }
DEVICE std::uint32_t bits_of(float x) { return __float_as_uint(x); }
DEVICE float float_of(std::uint32_t bits) { return __uint_as_float(bits); }
DEVICE std::uint32_t multiply_high(std::uint32_t a, std::uint32_t b) { return __umulhi(a, b); }
DEVICE int ones(std::uint32_t bits) { return __popc(bits); }

// ---- 16 bytes at once, at an address that is a multiple of 16 ----
struct alignas(16) Words {
  std::uint32_t w[4];
};
DEVICE Words load_words(const void* from) {
  const uint4 v = *static_cast<const uint4*>(from);
  return {{v.x, v.y, v.z, v.w}};
}
DEVICE void store_words(void* to, const Words& v) { *static_cast<uint4*>(to) = make_uint4(v.w[0], v.w[1], v.w[2], v.w[3]); }

// ---- warps ----
DEVICE float shuffle_xor(float v, int mask) { return __shfl_xor_sync(~0u, v, mask); }
DEVICE double shuffle_xor(double v, int mask) { return __shfl_xor_sync(~0u, v, mask); }
DEVICE std::uint32_t shuffle_xor(std::uint32_t v, int mask) { return __shfl_xor_sync(~0u, v, mask); }
DEVICE float shuffle(float v, int lane) { return __shfl_sync(~0u, v, lane); }

// ---- atomics; sums of integers only: their order does not matter ----
DEVICE int atomic_add(int* at, int v) { return atomicAdd(at, v); }
DEVICE std::uint32_t atomic_add(std::uint32_t* at, std::uint32_t v) { return atomicAdd(at, v); }

// ---- tensor cores of sm_80 and newer ----
/// Copies 16 bytes to shared memory some time before copy_wait, or zeros where not `valid`. Both aligned to 16.
DEVICE void copy_async(void* to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address(to)), "l"(from), "r"(valid ? 16 : 0) : "memory");
}
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Until at most the N newest groups of this thread are under way.
template <int N>
DEVICE void copy_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
/// Four 8×8 matrices of 16-bit values; lane l brings the address of row l % 8 of matrix l / 8.
DEVICE void load_matrix4(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address(row)) : "memory");
}
/// The same, each matrix transposed.
DEVICE void load_matrix4_t(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address(row)) : "memory");
}
/// c [16, 8] += a [16, 16] · b [16, 8] in fp32, in the fragments of mma.m16n8k16.
template <class T>
DEVICE void mma(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1);
template <>
DEVICE void mma<half>(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
DEVICE void mma<bf16>(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace dev

#endif  // __CUDACC__

// ---- the same for both ----
namespace dev {

/// Sum over the 32 lanes of a warp, the same in all of them; in a fixed order.
template <class V>
DEVICE V warp_sum(V v) {
  for (int mask = 16; mask > 0; mask /= 2) v += shuffle_xor(v, mask);
  return v;
}
DEVICE float warp_max(float v) {
  for (int mask = 16; mask > 0; mask /= 2) {
    const float other = shuffle_xor(v, mask);
    v = other > v ? other : v;
  }
  return v;
}

}  // namespace dev
