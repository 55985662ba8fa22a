#pragma once

namespace cones {

/// What one step of a concept search does to ξ, the optimiser's moments and S (concepts/search.h).
struct SearchUpdate {
  bool adam;        // or plain gradient descent
  bool algorithm1;  // or A2
  bool clamp;       // keep ξ within [0, 1]
  float rate;       // of ξ; Adam's is divided by 1 − β1^k
  float rest1, beta2, rest2, correction2, epsilon;  // 1 − β1, β2, 1 − β2, 1 / √(1 − β2^k), ε
};

}  // namespace cones
