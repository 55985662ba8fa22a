// The sampling loop: from initial latents to a picture's latents with one UNet call per step.
//
// Every solver (DPM-Solver++ 2M, DDIM, Euler) is linear in its tensors, so lib/samplers computes coefficients and this one
// loop runs them all.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "model/unet.h"

namespace cones {

/// Coefficients of one step. The UNet sees input_scale·x at `timestep`; then, with the guided model output o,
///   x0 = x0_from_x·x + x0_from_output·o
///   x  = x_from_x·x + x_from_x0·x0 + x_from_previous_x0·(x0 of the step before) + noise·z,  z ~ N(0, I)
struct SolverStep {
  double timestep, input_scale, x0_from_x, x0_from_output, x_from_x, x_from_x0, x_from_previous_x0, noise;
};

struct SampleInput {
  Tensor latents;              // [B, h, w, C], scaled by the schedule's initial noise scale
  Tensor embeddings;           // [B, T, D]
  Tensor negative_embeddings;  // [B, T, D]; undefined: no guidance
  double guidance = 1;         // o = o_negative + guidance·(o_positive − o_negative)
  std::vector<SolverStep> steps;
  std::vector<std::uint64_t> seeds;         // [B], for solvers that add noise
  std::vector<const ConceptMask*> masks;    // [B] or empty; a picture's mask serves its negative prompt too
  std::function<void(int step, const Tensor& x0)> on_step;  // may be empty
};

/// The final latents [B, h, w, C].
Tensor sample(const Context& context, const UNet& unet, const SampleInput& input);

}  // namespace cones
