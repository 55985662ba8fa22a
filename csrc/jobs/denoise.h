// One call of the UNet.
#pragma once

#include "jobs/latents.h"

namespace cones::jobs {

/// The model output [B, C, h, w].
std::vector<float> denoise(const Context& context, const Model& model, const DenoiseInput& in);

}  // namespace cones::jobs
