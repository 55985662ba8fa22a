// What jobs on noisy latents take: the latents, a text and a mask per row.
#pragma once

#include <vector>

#include "diffusion/training_batch.h"
#include "jobs/mask.h"
#include "model/model.h"

namespace cones::jobs {

struct LatentInput {
  Shape shape;                    // [B, h, w, C]
  std::vector<float> latents;     // [B, C, h, w]
  index_t tokens = 0;             // T
  index_t regions = 1;            // R: texts and masks of each row of the latents; more than 1 in drawings alone
  std::vector<float> embeddings;  // [B·R, T, D]
  MaskRows masks;

  Tensor upload_latents(const Context& context, DType dtype) const;
  Tensor upload_text(const Context& context, const Model& model) const;
  Shape text_shape(const Model& model) const;
  /// CONES_OPTION_INVALID unless an array has one element per batch row.
  void check_rows(std::size_t count, const char* name) const;
};

/// What the UNet makes of them.
struct DenoiseInput : LatentInput {
  std::vector<double> timesteps;  // [B]
};

/// And what it should have made.
struct TrainingInput : DenoiseInput {
  std::vector<float> target;    // [B, C, h, w]
  std::vector<double> weights;  // [B], loss = Σ_b weight_b · mean((output_b − target_b)²)

  void check() const;
  TrainingBatch upload_batch(const Context& context, const Model& model) const;
};

/// The sizes of latents of this model, for plans.
DenoiseInput sizes_of(const Model& model, index_t batch, index_t height, index_t width, index_t tokens);

}  // namespace cones::jobs
