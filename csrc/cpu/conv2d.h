// Convolutions' weights as the CPU's kernels read them.
#pragma once

#include "cpu/gemm.h"

namespace cones {

struct CpuConv2d final : Prepared {
  CpuConv2d(const Context& context, const Parameter& weight, const Parameter* bias);
  static const CpuConv2d& of(const Prepared& prepared) { return static_cast<const CpuConv2d&>(prepared); }
  index_t taps() const { return kernel_h * kernel_w; }

  index_t in, out, kernel_h, kernel_w;
  /// B [taps · I, O]: row (tap, i) holds W[·, i, tap]. With few outputs (conv2d_few_outputs.h) B [I, taps · O]: column
  /// (tap, o) holds W[o, ·, tap].
  PackedMatrix forward;
  /// B [taps · O, I]: row (tap, o) holds W[o, ·, tap]. Packed on first use, then kept.
  LazyPackedMatrix backward;
  Tensor bias;  // [O], undefined without one
};

}  // namespace cones
