#include "jobs/denoise.h"

#include "ops/transfer.h"

namespace cones::jobs {

std::vector<float> denoise(const Context& context, const Model& model, const DenoiseInput& in) {
  in.check_rows(in.timesteps.size(), "timesteps");
  Tape tape(context);
  const KvView view{.masks = mask_pointers(in.masks)};
  const TextKv text = model.unet().project_text(tape, Var(in.upload_text(context, model)), view);
  const Var output = model.unet().forward(tape, {.latents = Var(in.upload_latents(context, context.backend->activation())), .timesteps = in.timesteps,
                                                 .text = text, .view = view});
  return download_channels_first(context, output.value());
}

}  // namespace cones::jobs
