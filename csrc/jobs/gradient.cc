#include "jobs/gradient.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "ops/mse_loss.h"
#include "ops/stored_gradients.h"
#include "ops/transfer.h"

namespace cones::jobs {
namespace {

std::vector<const Parameter*> unet_parameters(const Model& model, const std::vector<std::string>& names) {
  std::vector<const Parameter*> parameters;
  for (const std::string& name : names) {
    const Parameter* parameter = &model.unet_parameter(name);
    if (std::find(parameters.begin(), parameters.end(), parameter) != parameters.end())
      fail("CONES_OPTION_INVALID", "The gradient of \"" + name + "\" is wanted twice. Name every weight once.");
    parameters.push_back(parameter);
  }
  return parameters;
}

// Makes the gradient the caller's own: zeros where the loss does not depend on the tensor, a copy where others have it, too.
void give_away(const Context& context, Tensor& gradient, const Shape& shape) {
  if (!gradient.defined()) gradient = context.zeros(shape);
  if (gradient.give_away()) return;
  gradient = copy(context, gradient);
  gradient.give_away();
}

}  // namespace

GradientResult gradient(const Context& context, const Model& model, const GradientInput& in) {
  in.check();
  const std::vector<const Parameter*> parameters = unet_parameters(model, in.tensors);
  StoredGradients stored(parameters);
  Tape tape(context, &stored);
  const KvView view{.masks = mask_pointers(in.masks)};
  const Var latents(in.upload_latents(context), in.want_latents);
  const Var embeddings(in.upload_text(context, model), in.want_embeddings);
  const TextKv text = model.unet().project_text(tape, embeddings, view);
  const UNetInput input{.latents = latents, .timesteps = in.timesteps, .text = text, .view = view,
                        .checkpointing = in.checkpointing};
  const Var output = model.unet().forward(tape, input);
  const MseLoss loss =
      mse_loss(context, output.value(), upload_channels_last(context, in.target, in.shape), in.weights, true);
  Tape::accumulate(context, output.gradient(), loss.gradient);
  tape.backward();

  GradientResult result{loss.loss, loss.means, std::move(stored.gradients()), {}, {}};
  for (std::size_t i = 0; i < parameters.size(); ++i) give_away(context, result.gradients[i], parameters[i]->shape);
  if (in.want_latents)
    result.latents = download_channels_first(context, latents.gradient()->tensor.reshape(in.shape));
  if (in.want_embeddings) result.embeddings = download(context, embeddings.gradient()->tensor);
  return result;
}

}  // namespace cones::jobs
