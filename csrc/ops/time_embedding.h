// Sinusoidal embedding of timesteps, as diffusers' get_timestep_embedding (max_period 10000, scale 1).
#pragma once

#include <span>

#include "device/context.h"

namespace cones {

/// [timesteps, dim]: with half = dim / 2 and ω_i = 10000^(−i / (half − freq_shift)), row b is
/// sin(t_b ω) then cos(t_b ω) — the other way round with flip_sin_to_cos — and a zero when dim is odd.
/// Computed in double and rounded.
Tensor timestep_embedding(const Context& context, std::span<const double> timesteps, index_t dim,
                          bool flip_sin_to_cos, double freq_shift);

}  // namespace cones
