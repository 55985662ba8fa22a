// The gradient of the denoising loss (Eq. 1), or of any whose gradient at the UNet's output is given, with respect to weights and
// inputs of the UNet.
#pragma once

#include <string>
#include <vector>

#include "jobs/latents.h"

namespace cones::jobs {

struct GradientInput : TrainingInput {
  std::vector<std::string> tensors;  // UNet weights whose gradients are wanted
  bool want_latents = false, want_embeddings = false;
  bool own_upstream = false;    // ∂loss/∂output is given: there is neither target nor weights
  std::vector<float> upstream;  // [B, C, h, w]
  Checkpointing checkpointing = Checkpointing::none;
};

struct GradientResult {
  double loss;  // neither this nor `rows` with a given upstream
  std::vector<double> rows;        // [B], unweighted mean squared errors
  std::vector<Tensor> gradients;   // of the weights, each given away (Tensor::give_away): JavaScript gets them as they are
  std::vector<float> latents;      // [B, C, h, w], empty unless wanted
  std::vector<float> embeddings;   // [B, T, D], the same
  std::vector<float> output;       // [B, C, h, w], with a given upstream
};

GradientResult gradient(const Context& context, const Model& model, const GradientInput& in);

}  // namespace cones::jobs
