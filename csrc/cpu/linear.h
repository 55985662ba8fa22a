// Linear layers' weights as the CPU's kernels read them.
#pragma once

#include "cpu/gemm.h"

namespace cones {

/// Of one layer, W [N, K]: read as fp32 and packed panel by panel; no unpacked copy is kept.
struct CpuLinear final : Prepared {
  CpuLinear(const Context& context, const Parameter& weight, const Parameter* bias);
  static const CpuLinear& of(const Prepared& prepared) { return static_cast<const CpuLinear&>(prepared); }

  const Parameter* weight;
  PackedMatrix forward;       // Wᵀ as B [K, N]
  LazyPackedMatrix backward;  // W as B [N, K], for gradients of the input: packed on first use, then kept
  Tensor bias;                // [N], undefined without one
};

/// fp32, all of it.
Tensor read_all(const Context& context, const Parameter& parameter);

}  // namespace cones
