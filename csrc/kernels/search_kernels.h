// Inner loops of the concept search (concepts/search.h), for one instruction set. Every element is computed by the same
// correctly rounded operations in all of them: the search's state does not depend on the processor's vector width.
#pragma once

#include <cstdint>

namespace cones {

/// What one step does to ξ, the optimiser's moments and S.
struct SearchUpdate {
  bool adam;        // or plain gradient descent
  bool algorithm1;  // or A2
  bool clamp;       // keep ξ within [0, 1]
  float rate;       // of ξ; Adam's is divided by 1 − β1^k
  float rest1, beta2, rest2, correction2, epsilon;  // 1 − β1, β2, 1 − β2, 1 / √(1 − β2^k), ε
};

struct SearchKernels {
  /// γ = ξ ⊙ θ = θ − (1 − ξ) ⊙ θ.
  void (*scale)(std::int64_t n, const float* theta, const float* displacement, float* gamma);
  /// γ = 0 where 1 − ξ ≥ cut > 0, θ elsewhere.
  void (*shut)(std::int64_t n, const float* theta, const float* displacement, float cut, float* gamma);
  /// One step on n weights. gradient: ∂L/∂γ; displacement: 1 − ξ; the moments are null unless `adam`.
  void (*update)(const SearchUpdate& step, std::int64_t n, const float* theta, const float* gradient,
                 float* displacement, float* first_moment, float* second_moment, float* score);
};

}  // namespace cones
