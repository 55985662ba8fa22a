#include "addon/latent_arguments.h"

namespace cones::addon {

Shape latent_shape(const Napi::Object& o, index_t channels) {
  constexpr std::int64_t largest = 1 << 14;
  return {integer(o, "batch", 1, largest), integer(o, "height", 1, largest), integer(o, "width", 1, largest), channels};
}

LatentArguments::LatentArguments(const Napi::Object& o, const Model& model)
    : shape(latent_shape(o, model.unet().config().in_channels)),
      latents(elements<float>(o, "latents")),
      embeddings(elements<float>(o, "embeddings")),
      tokens(integer(o, "tokens", 1, kMaxTokens)),
      masks(mask_rows(o, "masks", shape[0], model)) {}

void LatentArguments::check_rows(std::size_t count, const char* name) const {
  if (static_cast<index_t>(count) != shape[0])
    fail("CONES_OPTION_INVALID", std::string(name) + " must have one element per batch row (" +
                                     std::to_string(shape[0]) + "), got " + std::to_string(count) + ".");
}

}  // namespace cones::addon
