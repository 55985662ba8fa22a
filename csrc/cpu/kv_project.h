// Masks and γ as the CPU's kernels read them.
#pragma once

#include "cpu/gemm.h"

namespace cones {

struct CpuMask final : Prepared {
  CpuMask(int panel_width, index_t n, index_t k, std::span<const std::uint32_t> indices)
      : packed(PackedMask::from_indices(panel_width, n, k, indices)), zeroed(indices.begin(), indices.end()) {}
  static const CpuMask& of(const Prepared& prepared) { return static_cast<const CpuMask&>(prepared); }

  PackedMask packed;
  std::vector<std::uint32_t> zeroed;  // flat indices, sorted
};

struct CpuGamma final : Prepared {
  static const CpuGamma& of(const Prepared& prepared) { return static_cast<const CpuGamma&>(prepared); }

  PackedMatrix forward;  // γᵀ as B [in, out]
};

}  // namespace cones
