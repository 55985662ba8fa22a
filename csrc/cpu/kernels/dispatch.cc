#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "cpu/kernels/kernels.h"

namespace cones {

extern const GemmKernels gemm_kernels_scalar;
extern const WinogradKernels winograd_kernels_scalar;
extern const VectorKernels vector_kernels_scalar;
extern const SearchKernels search_kernels_scalar;
#if defined(__x86_64__)
extern const GemmKernels gemm_kernels_avx2, gemm_kernels_avx512;
extern const WinogradKernels winograd_kernels_avx2, winograd_kernels_avx512;
extern const VectorKernels vector_kernels_avx2, vector_kernels_avx512;
extern const SearchKernels search_kernels_avx2, search_kernels_avx512;
#endif

namespace {

const Kernels kScalar{"scalar", &gemm_kernels_scalar, &winograd_kernels_scalar, &vector_kernels_scalar,
                      &search_kernels_scalar};

#if defined(__x86_64__)
const Kernels kAvx2{"avx2", &gemm_kernels_avx2, &winograd_kernels_avx2, &vector_kernels_avx2, &search_kernels_avx2};
const Kernels kAvx512{"avx512", &gemm_kernels_avx512, &winograd_kernels_avx512, &vector_kernels_avx512,
                      &search_kernels_avx512};

bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

}  // namespace

const Kernels* find_kernels(const char* isa) {
  if (std::strcmp(isa, "scalar") == 0) return &kScalar;
#if defined(__x86_64__)
  if (std::strcmp(isa, "avx2") == 0 && has_avx2()) return &kAvx2;
  if (std::strcmp(isa, "avx512") == 0 && has_avx512()) return &kAvx512;
#endif
  return nullptr;
}

const Kernels* best_kernels() {
  if (const char* wanted = std::getenv("CONES_ISA"))
    if (const Kernels* kernels = find_kernels(wanted)) return kernels;
  for (const char* isa : {"avx512", "avx2"})
    if (const Kernels* kernels = find_kernels(isa)) return kernels;
  return &kScalar;
}

}  // namespace cones
