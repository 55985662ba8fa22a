// What every job on noisy latents takes: latents [B, C, h, w], text states [B, T, D], a mask per row.
#pragma once

#include "addon/arguments.h"
#include "diffusion/training_batch.h"
#include "jobs/latents.h"
#include "model/model.h"

namespace cones::addon {

// Each fills what its part of the input has.
void read_latents(const Napi::Object& options, const Model& model, jobs::LatentInput& in);
void read_denoise(const Napi::Object& options, const Model& model, jobs::DenoiseInput& in);
void read_training(const Napi::Object& options, const Model& model, jobs::TrainingInput& in);

/// What the model predicts, for jobs that make noised latents themselves.
Prediction prediction_of(const Napi::Object& options);

/// The longest text in tokens that a call may have.
constexpr index_t kMaxTokens = 1 << 16;

/// The largest batch, height or width.
constexpr std::int64_t kMaxSide = 1 << 14;

/// The i-th argument, a size from 1 to kMaxSide.
index_t size_argument(const Napi::CallbackInfo& info, std::size_t i);

/// Batch, height and width of an options object with a number of channels: [B, h, w, C].
Shape latent_shape(const Napi::Object& options, index_t channels);

}  // namespace cones::addon
