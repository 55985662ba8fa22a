// Noised pictures with what the UNet should predict for them: the inputs of the concept-implanting loss (Eq. 2–4).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "device/context.h"
#include "device/options.h"

namespace cones {

/// One training row: x_t = √ᾱ_t·z + √(1 − ᾱ_t)·ε.
struct TrainingBatch {
  Tensor latents;                 // x_t [B, h, w, C]
  Tensor target;                  // ε, or v = √ᾱ_t·ε − √(1 − ᾱ_t)·z, [B, h, w, C]
  std::vector<double> timesteps;  // [B]
  std::vector<double> weights;    // [B], loss = Σ_b weight_b · mean((output_b − target_b)²)
  Tensor embeddings;              // text states [U, T, D]; texts that rows share are there once
  std::vector<int> texts;         // [B], which of them each row has; empty where row b has the b-th
  std::vector<int> captions;      // [U], which caption each of them is of; empty where nobody asks
};

/// moments [N, h, w, 2C]: mean and log-variance of the autoencoder's posterior; z = latent_scale·(mean + σ·n).
/// Fills latents, target and timesteps of the batch.
void make_noised_rows(const Context& context, const Tensor& moments, double latent_scale,
                      std::span<const double> alphas_cumprod, Prediction prediction, std::span<const NoisedRow> rows,
                      TrainingBatch& batch);

}  // namespace cones
