#include "jobs/gradient.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "jobs/upstream.h"
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

// Makes the gradient the caller's own: zeros where the loss does not depend on the tensor.
void give_away(const Context& context, Tensor& gradient, const Shape& shape) {
  if (!gradient.defined()) gradient = context.zeros(shape, DType::f32);
  gradient = to_host(context, std::move(gradient));
  gradient.give_away();
}

}  // namespace

GradientResult gradient(const Context& given, const Model& model, const GradientInput& in) {
  if (in.own_upstream) in.check_rows(in.timesteps.size(), "timesteps");
  else in.check();
  Context context = given;
  context.gradient_scale = in.own_upstream ? upstream_scale(context, in.upstream)
                                           : context.backend->gradient_scale(in.shape.size() / in.shape[0]);
  const std::vector<const Parameter*> parameters = unet_parameters(model, in.tensors);
  StoredGradients stored(parameters);
  Tape tape(context, &stored, in.checkpointing);
  const KvView view{.masks = mask_pointers(in.masks)};
  const Var latents(in.upload_latents(context, context.backend->activation()), in.want_latents);
  const Var embeddings(in.upload_text(context, model), in.want_embeddings);
  const TextKv text = model.unet().project_text(tape, embeddings, view);
  const UNetInput input{.latents = latents, .timesteps = in.timesteps, .text = text, .view = view};
  const Var output = model.unet().forward(tape, input);
  GradientResult result{};
  if (in.own_upstream) {
    const Tensor& value = output.value();
    Tape::accumulate(context, output.gradient(),
                     upload_channels_last(context, scaled(in.upstream, context.gradient_scale), in.shape, value.dtype()).reshape(value.shape()));
    result.output = download_channels_first(context, value.reshape(in.shape));
    tape.backward();
  } else {
    MseResult loss = mse_loss(context, output.value(), upload_channels_last(context, in.target, in.shape, DType::f32), in.weights, true);
    Tape::accumulate(context, output.gradient(), std::exchange(loss.gradient, Tensor()));
    tape.backward();
    const MseLoss values = read_loss(context, loss, in.weights);
    result.loss = values.loss;
    result.rows = values.means;
  }
  result.gradients = std::move(stored.gradients());
  for (std::size_t i = 0; i < parameters.size(); ++i) give_away(context, result.gradients[i], parameters[i]->shape);
  if (in.want_latents)
    result.latents =
        scaled(download_channels_first(context, latents.gradient()->tensor.reshape(in.shape)), 1 / context.gradient_scale);
  if (in.want_embeddings)
    result.embeddings = scaled(download(context, embeddings.gradient()->tensor), 1 / context.gradient_scale);
  return result;
}

}  // namespace cones::jobs
