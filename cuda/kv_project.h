// K and V projections, the only weights that concepts touch: a mask of its own per batch row, and γ of a search.
#pragma once

#include "library.h"

namespace cones::cuda {

/// y[b] = x[b] (M_b ⊙ (W + delta))ᵀ, rounded once.
///
/// A mask is [N, ceil(K / 32)] words; bit k % 32 of word k / 32 of row n is 1 where the weight (n, k) is kept. Bits past K count
/// for nothing.
struct KvProjectForwardArgs {
  Type type;  // of x, weight, delta, y: f16 or bf16
  std::int64_t B, T, N, K;
  const void* x;       // [B, T, K]
  const void* weight;  // W [N, K]
  const void* delta;   // [N, K] or null. A second matrix for the same fp32 sums: γ = θ − (1 − ξ) ⊙ θ rounded to 16 bits would lose
                       // small 1 − ξ, so a search gives θ as W and −(1 − ξ) ⊙ θ as delta (search_gamma)
  const std::uint32_t* const* masks;  // null, or in host memory B pointers to masks in device memory; null where all weights are kept
  void* y;                            // [B, T, N]
  // Not served yet, must be null:
  const std::int32_t* mask_of_token;  // [B, T]: which mask a token's row takes
  const void* sparse;                 // values in place of the masked ones
};
int kv_project_forward(Stream* stream, const KvProjectForwardArgs& args);

/// dx[b] = dy[b] (M_b ⊙ (W + delta)) + onto, rounded once.
struct KvProjectBackwardInputArgs {
  Type type;  // of dy, weight, delta, onto, dx
  std::int64_t B, T, N, K;
  const void* dy;                     // [B, T, N]
  const void* weight;                 // W [N, K], as in the forward pass
  const void* delta;                  // [N, K] or null
  const std::uint32_t* const* masks;  // as in the forward pass
  const void* onto;                   // [B, T, K], what the input's gradient is so far, or null; may be dx
  void* dx;                           // [B, T, K]
  const std::int32_t* mask_of_token;  // must be null
  const void* sparse;                 // must be null
};
int kv_project_backward_input(Stream* stream, const KvProjectBackwardInputArgs& args);

}  // namespace cones::cuda
