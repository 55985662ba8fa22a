#include "diffusion/sampler.h"

#include <utility>

#include "base/error.h"
#include "device/backend.h"

namespace cones {
namespace {

// All of them along the batch; a single one as it is.
Tensor stack(const Context& context, const std::vector<Tensor>& parts) {
  return parts.size() == 1 ? parts[0] : context.backend->stack_rows(context, parts);
}

}  // namespace

Sampling::Sampling(const Context& context, const UNet& unet, SampleInput input)
    : input_(std::move(input)),
      size_{input_.latents.dim(1), input_.latents.dim(2), input_.embeddings.dim(1)},
      guided_(input_.negative_embeddings.defined() && input_.guidance != 1),
      masks_(input_.masks),
      x_(std::exchange(input_.latents, Tensor())) {
  const index_t regions = x_.dim(0) * input_.regions;
  check(masks_.empty() || static_cast<index_t>(masks_.size()) == regions, "one mask per region");
  check(input_.weights.defined() == (input_.regions > 1), "weights where there are several regions");
  masks_.resize(static_cast<std::size_t>(regions));
  if (guided_) masks_.insert(masks_.end(), masks_.begin(), masks_.end());
  if (input_.weights.defined()) weights_ = guided_ ? stack(context, {input_.weights, input_.weights}) : input_.weights;
  input_.weights = Tensor();
  Tape tape(context);
  const Tensor text = guided_ ? stack(context, {input_.negative_embeddings, input_.embeddings}) : input_.embeddings;
  text_ = unet.project_text(tape, Var(text), KvView{.masks = masks_});
  input_.embeddings = input_.negative_embeddings = Tensor();
}

void Sampling::advance(const Context& context, const UNet& unet, std::span<Sampling* const> together) {
  std::vector<Tensor> inputs;
  std::vector<double> timesteps;
  KvView view;
  TextKv text = together[0]->text_;
  for (Sampling* s : together) {
    const std::vector<Tensor> own = s->inputs(context);
    inputs.insert(inputs.end(), own.begin(), own.end());
    timesteps.insert(timesteps.end(), s->masks_.size(), s->input_.steps[s->done_].timestep);
    view.masks.insert(view.masks.end(), s->masks_.begin(), s->masks_.end());
  }
  if (together.size() > 1)
    for (std::size_t layer = 0; layer < text.keys.size(); ++layer) {
      std::vector<Tensor> keys, values;
      for (const Sampling* s : together) {
        keys.push_back(s->text_.keys[layer].value());
        values.push_back(s->text_.values[layer].value());
      }
      text.keys[layer] = Var(stack(context, keys));
      text.values[layer] = Var(stack(context, values));
    }

  Tape tape(context);
  const Tensor latents = stack(context, std::exchange(inputs, {}));
  const Tensor output =
      unet.forward(tape, {.latents = Var(latents), .timesteps = timesteps, .text = text, .view = view}).value();
  index_t row = 0;
  for (Sampling* s : together) {
    s->solve(context, output.slice(row, row + s->rows()));
    row += s->rows();
  }
}

// Its rows of the UNet's input, one after another: every picture once for each of its regions, and all again with guidance.
std::vector<Tensor> Sampling::inputs(const Context& context) const {
  const Tensor scaled = context.backend->scale_input(context, x_, input_.steps[done_].input_scale);
  if (input_.regions == 1) return std::vector<Tensor>(guided_ ? 2 : 1, scaled);
  std::vector<Tensor> rows;
  for (int half = 0; half < (guided_ ? 2 : 1); ++half)
    for (index_t picture = 0; picture < x_.dim(0); ++picture)
      rows.insert(rows.end(), static_cast<std::size_t>(input_.regions), scaled.slice(picture, picture + 1));
  return rows;
}

// outputs [rows, h, w, C]
void Sampling::solve(const Context& context, const Tensor& outputs) {
  const Tensor output = weights_.defined() ? context.backend->blend_rows(context, outputs, weights_, input_.regions) : outputs;
  Tensor x0, next;
  context.backend->solver_step(context,
                               {.x = x_,
                                .previous_x0 = previous_x0_,
                                .output = output,
                                .guided = guided_,
                                .guidance = input_.guidance,
                                .seeds = input_.seeds,
                                .steps_done = done_},
                               input_.steps[done_], x0, next);
  x_ = std::move(next);
  previous_x0_ = std::move(x0);
  ++done_;
}

}  // namespace cones
