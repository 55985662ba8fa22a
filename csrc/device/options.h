// What ops are told besides tensors: named, and with the defaults of, PyTorch's and diffusers' layers.
#pragma once

#include <array>
#include <cstdint>

#include "base/tensor.h"
#include "device/activation.h"
#include "device/search_update.h"

namespace cones {

/// torch.nn.Conv2d: Ho = (H + pad_top + pad_bottom − kh) / stride + 1, and Wo likewise; the padding is zero.
struct Conv2dOptions {
  int stride = 1;
  int pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
};

/// torch.nn.GroupNorm, with an optional SiLU behind it in the same pass.
struct GroupNormOptions {
  int groups = 32;     // divides C
  float eps = 1e-5f;
  bool silu = false;   // y = silu(normalised) instead of normalised
};

struct AttentionOptions {
  int heads = 1;        // divides C; the scores are scaled by 1/√(C / heads)
  bool causal = false;  // query t sees keys 0..t only (CLIP's text tower); needs T = S
};

/// Coefficients of one sampling step. The UNet sees input_scale·x at `timestep`; then, with the guided model output o,
///   m = prediction_from_x·x + prediction_from_output·o
///   x = x_from_x·x + x_from_prediction·m + Σₖ x_from_previous[k]·(m of k + 1 steps before) + noise·z,  z ~ N(0, I)
/// where m is whatever the solver keeps of each step: the clean picture x0, or ε.
struct SolverStep {
  static constexpr int kPrevious = 4;  // PNDM's first steps reach so far back
  double timestep, input_scale, prediction_from_x, prediction_from_output, x_from_x, x_from_prediction;
  std::array<double, kPrevious> x_from_previous;  // 0 where there is no such step
  double noise;
};

/// What the UNet predicts.
enum class Prediction { epsilon, v_prediction };

/// Where a row's noise comes from: normals [offset, offset + 2·h·w·C) of stream `seed` (base/rng.h); the first half samples the
/// autoencoder's posterior, the second is ε.
struct NoiseSource {
  std::uint64_t seed, offset;
};

/// One row of a training batch.
struct NoisedRow {
  index_t picture;  // row of the moments
  int timestep;
  NoiseSource noise;
};

/// Adam (Kingma & Ba, 2015) with PyTorch's names, and AdamW (Loshchilov & Hutter, 2019) with weight decay; `step` counts from 1.
struct AdamStep {
  double learning_rate, beta1, beta2, epsilon;
  std::int64_t step;
  double weight_decay = 0;  // values shrink by this times the learning rate, apart from the gradient's step
};

}  // namespace cones
