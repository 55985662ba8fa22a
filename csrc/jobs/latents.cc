#include "jobs/latents.h"

#include <string>

#include "base/error.h"
#include "device/backend.h"
#include "ops/transfer.h"

namespace cones::jobs {

Tensor LatentInput::upload_latents(const Context& context, DType dtype) const {
  return upload_channels_last(context, latents, shape, dtype);
}

Tensor LatentInput::upload_text(const Context& context, const Model& model) const {
  return upload(context, embeddings, text_shape(model));
}

Shape LatentInput::text_shape(const Model& model) const {
  return {shape[0] * regions, tokens, model.unet().config().cross_attention_dim};
}

void LatentInput::check_rows(std::size_t count, const char* name) const {
  if (static_cast<index_t>(count) != shape[0])
    fail("CONES_OPTION_INVALID", std::string(name) + " must have one element per batch row (" +
                                     std::to_string(shape[0]) + "), got " + std::to_string(count) + ".");
}

void TrainingInput::check() const {
  check_rows(timesteps.size(), "timesteps");
  check_rows(weights.size(), "weights");
}

TrainingBatch TrainingInput::upload_batch(const Context& context, const Model& model) const {
  check();
  return {.latents = upload_latents(context, context.backend->activation()),
          .target = upload_channels_last(context, target, shape, DType::f32),
          .timesteps = timesteps,
          .weights = weights,
          .embeddings = upload_text(context, model),
          .texts = {},
          .captions = {}};
}

DenoiseInput sizes_of(const Model& model, index_t batch, index_t height, index_t width, index_t tokens) {
  DenoiseInput in;
  in.shape = {batch, height, width, model.unet().config().in_channels};
  in.tokens = tokens;
  in.timesteps.assign(static_cast<std::size_t>(batch), 0.0);
  return in;
}

}  // namespace cones::jobs
