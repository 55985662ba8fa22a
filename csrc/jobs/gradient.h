// The gradient of the denoising loss (Eq. 1) with respect to weights and inputs of the UNet.
#pragma once

#include <string>
#include <vector>

#include "jobs/latents.h"

namespace cones::jobs {

struct GradientInput : TrainingInput {
  std::vector<std::string> tensors;  // UNet weights whose gradients are wanted
  bool want_latents = false, want_embeddings = false;
  bool checkpointing = false;
};

struct GradientResult {
  double loss;
  std::vector<double> rows;        // [B], unweighted mean squared errors
  std::vector<Tensor> gradients;   // of the weights, each given away (Tensor::give_away): JavaScript gets them as they are
  std::vector<float> latents;      // [B, C, h, w], empty unless wanted
  std::vector<float> embeddings;   // [B, T, D], the same
};

GradientResult gradient(const Context& context, const Model& model, const GradientInput& in);

}  // namespace cones::jobs
