// Inner loops of the concept search (concepts/search.h), for one instruction set. Every element is computed by the same
// correctly rounded operations in all of them: the search's state does not depend on the processor's vector width.
#pragma once

#include <cstdint>

#include "device/search_update.h"

namespace cones {

struct SearchKernels {
  /// γ = ξ ⊙ θ = θ − (1 − ξ) ⊙ θ.
  void (*scale)(std::int64_t n, const float* theta, const float* displacement, float* gamma);
  /// One step on n weights. gradient: ∂L/∂γ; displacement: 1 − ξ; the moments are null unless `adam`.
  void (*update)(const SearchUpdate& step, std::int64_t n, const float* theta, const float* gradient,
                 float* displacement, float* first_moment, float* second_moment, float* score);
};

}  // namespace cones
