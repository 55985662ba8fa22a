// The inner loops of the CPU backend, compiled once per instruction set and chosen at run time.
//
// kernels/<name>_kernels.cc is compiled with CONES_ISA = scalar, avx2 and avx512 and defines `<name>_kernels_<isa>`.
#pragma once

#include "cpu/kernels/gemm_kernels.h"
#include "cpu/kernels/search_kernels.h"
#include "cpu/kernels/vector_kernels.h"
#include "cpu/kernels/winograd_kernels.h"

namespace cones {

struct Kernels {
  const char* isa;
  const GemmKernels* gemm;
  const WinogradKernels* winograd;
  const VectorKernels* vector;
  const SearchKernels* search;
};

/// The kernels of one instruction set ("scalar", "avx2", "avx512"); null when this processor or build lacks it.
const Kernels* find_kernels(const char* isa);
/// The widest instruction set that this processor has. The environment variable CONES_ISA narrows it (for tests).
const Kernels* best_kernels();

}  // namespace cones
