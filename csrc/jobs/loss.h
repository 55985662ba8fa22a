// The loss of Eq. 2–3 on fixed pictures, noise and timesteps, without gradients, for reports.
#pragma once

#include <cstdint>
#include <vector>

#include "diffusion/training_batch.h"
#include "jobs/mask.h"
#include "model/model.h"

namespace cones::jobs {

struct LossInput {
  Shape shape;                    // [B, h, w, 2C]
  std::vector<float> moments;     // [B, 2C, h, w]: mean, log-variance
  double latent_scale = 1;
  index_t tokens = 0;             // T
  std::vector<float> embeddings;  // [B, T, D]
  std::vector<double> timesteps;  // [B]
  std::vector<double> alphas_cumprod;
  Prediction prediction = Prediction::epsilon;
  std::uint64_t seed = 0;
  MaskRows masks;
};

/// Mean squared error per row [B].
std::vector<double> loss(const Context& context, const Model& model, const LossInput& in);

}  // namespace cones::jobs
