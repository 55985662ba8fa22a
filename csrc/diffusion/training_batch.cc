#include "diffusion/training_batch.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/rng.h"

namespace cones {

void make_noised_rows(const Context& context, const Tensor& moments, double latent_scale,
                      std::span<const double> alphas_cumprod, Prediction prediction, std::span<const NoisedRow> rows,
                      TrainingBatch& batch) {
  const index_t height = moments.dim(1), width = moments.dim(2), channels = moments.dim(3) / 2;
  const index_t count = static_cast<index_t>(rows.size()), size = height * width * channels;
  batch.latents = context.empty({count, height, width, channels});
  batch.target = context.empty({count, height, width, channels});
  batch.timesteps.assign(rows.size(), 0.0);
  if (context.planning()) return;

  std::vector<float> noise(static_cast<std::size_t>(2 * size));
  for (index_t r = 0; r < count; ++r) {
    const NoisedRow& row = rows[static_cast<std::size_t>(r)];
    check(row.timestep >= 0 && static_cast<std::size_t>(row.timestep) < alphas_cumprod.size(), "timestep in range");
    const double alpha_bar = alphas_cumprod[static_cast<std::size_t>(row.timestep)];
    const double signal = std::sqrt(alpha_bar), sigma = std::sqrt(1 - alpha_bar);
    batch.timesteps[static_cast<std::size_t>(r)] = row.timestep;
    philox_normal(row.noise.seed, row.noise.offset, noise.data(), 2 * size);

    const float* moment = moments.data() + row.picture * 2 * size;
    float* x = batch.latents.data() + r * size;
    float* target = batch.target.data() + r * size;
    for (index_t pixel = 0; pixel < height * width; ++pixel) {
      for (index_t c = 0; c < channels; ++c) {
        const index_t i = pixel * channels + c;
        const double mean = static_cast<double>(moment[pixel * 2 * channels + c]);
        const double log_variance =
            std::clamp(static_cast<double>(moment[pixel * 2 * channels + channels + c]), -30.0, 20.0);
        const double posterior = static_cast<double>(noise[static_cast<std::size_t>(i)]);
        const double epsilon = static_cast<double>(noise[static_cast<std::size_t>(size + i)]);
        const double z = latent_scale * (mean + std::exp(0.5 * log_variance) * posterior);
        x[i] = static_cast<float>(signal * z + sigma * epsilon);
        target[i] = static_cast<float>(prediction == Prediction::epsilon ? epsilon : signal * epsilon - sigma * z);
      }
    }
  }
}

}  // namespace cones
