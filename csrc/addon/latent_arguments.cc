#include "addon/latent_arguments.h"

#include <cmath>

#include "addon/mask.h"

namespace cones::addon {

Shape latent_shape(const Napi::Object& o, index_t channels) {
  return {integer(o, "batch", 1, kMaxSide), integer(o, "height", 1, kMaxSide), integer(o, "width", 1, kMaxSide), channels};
}

index_t size_argument(const Napi::CallbackInfo& info, std::size_t i) {
  const double value = info[i].IsNumber() ? info[i].As<Napi::Number>().DoubleValue() : 0;
  if (!(value >= 1 && value <= static_cast<double>(kMaxSide) && value == std::floor(value)))
    invalid(info.Env(), "Sizes must be whole numbers from 1 to " + std::to_string(kMaxSide) + ".");
  return static_cast<index_t>(value);
}

Prediction prediction_of(const Napi::Object& o) {
  return text(o, "prediction") == "v_prediction" ? Prediction::v_prediction : Prediction::epsilon;
}

void read_latents(const Napi::Object& o, const Model& model, jobs::LatentInput& in) {
  in.shape = latent_shape(o, model.unet().config().in_channels);
  in.latents = elements<float>(o, "latents");
  in.embeddings = elements<float>(o, "embeddings");
  in.tokens = integer(o, "tokens", 1, kMaxTokens);
  in.masks = mask_rows(o, "masks", in.shape[0] * in.regions, model);
}

void read_denoise(const Napi::Object& o, const Model& model, jobs::DenoiseInput& in) {
  read_latents(o, model, in);
  in.timesteps = elements<double>(o, "timesteps");
}

void read_training(const Napi::Object& o, const Model& model, jobs::TrainingInput& in) {
  read_denoise(o, model, in);
  in.target = elements<float>(o, "target");
  in.weights = elements<double>(o, "weights");
}

}  // namespace cones::addon
