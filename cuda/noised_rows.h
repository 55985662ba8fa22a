// Noised pictures and what the UNet should predict for them, as make_noised_rows of csrc/diffusion/training_batch.cc: with the
// autoencoder's posterior (μ, ln σ²) of a picture and normals n, ε,
//   z = latent_scale·(μ + σ·n),  x_t = √ᾱ·z + √(1 − ᾱ)·ε,  target = ε, or √ᾱ·ε − √(1 − ᾱ)·z
// in fp64 for each element, in the CPU's order of operations (exp may differ from the CPU's in its last bit).
#pragma once

#include "library.h"

namespace cones::cuda {

struct NoisedRow {
  std::int64_t picture;    // row of `moments`
  double signal, sigma;    // √ᾱ, √(1 − ᾱ) of the row's timestep
  std::uint64_t seed;      // n: normals [offset, offset + pixels·channels) of stream `seed`; ε: as many after them
  std::uint64_t offset;
};

struct NoisedRowsArgs {
  std::int64_t batch, pixels, channels;
  const float* moments;    // [pictures, pixels, 2·channels]: means, then log-variances (clamped to −30 … 20)
  const NoisedRow* rows;   // [batch], in host memory, read before this returns
  double latent_scale;
  int v_prediction;        // 0: the target is ε
  void* latents;           // x_t [batch, pixels, channels] of latents_type (any)
  Type latents_type;
  float* target;           // [batch, pixels, channels]
};

int noised_rows(Stream* stream, const NoisedRowsArgs& args);

}  // namespace cones::cuda
