#include "diffusion/training_batch.h"

#include "base/error.h"
#include "device/backend.h"

namespace cones {

void make_noised_rows(const Context& context, const Tensor& moments, double latent_scale,
                      std::span<const double> alphas_cumprod, Prediction prediction, std::span<const NoisedRow> rows,
                      TrainingBatch& batch) {
  for (const NoisedRow& row : rows)
    check(row.timestep >= 0 && static_cast<std::size_t>(row.timestep) < alphas_cumprod.size(), "timestep in range");
  Tensor latents;
  context.backend->noised_rows(context, moments, latent_scale, alphas_cumprod, prediction, rows, latents, batch.target);
  batch.latents = context.backend->cast(context, latents, context.backend->activation(), 1);
  batch.timesteps.clear();
  for (const NoisedRow& row : rows) batch.timesteps.push_back(row.timestep);
}

}  // namespace cones
