#include "diffusion/sampler.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "device/backend.h"

namespace cones {
namespace {

// All of them along the batch; a single one as it is.
Tensor stack(const Context& context, const std::vector<Tensor>& parts) {
  return parts.size() == 1 ? parts[0] : context.backend->stack_rows(context, parts);
}

// How many earlier predictions these steps look at, or one, for those who want to see it.
std::size_t reach(std::span<const SolverStep> steps) {
  std::size_t depth = 1;
  for (const SolverStep& step : steps)
    for (std::size_t p = 0; p < step.x_from_previous.size(); ++p)
      if (step.x_from_previous[p] != 0) depth = std::max(depth, p + 1);
  return depth;
}

}  // namespace

Sampling::Sampling(const Context& context, const UNet& unet, SampleInput input)
    : input_(std::move(input)),
      size_{input_.latents.dim(1), input_.latents.dim(2), input_.embeddings.dim(1)},
      guided_(input_.negative_embeddings.defined() && input_.guidance != 1),
      masks_(input_.masks),
      x_(std::exchange(input_.latents, Tensor())),
      depth_(reach(input_.steps)) {
  check(masks_.empty() || static_cast<index_t>(masks_.size()) == x_.dim(0), "one mask per picture");
  masks_.resize(static_cast<std::size_t>(x_.dim(0)));
  if (guided_) masks_.insert(masks_.end(), masks_.begin(), masks_.end());
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
    const SolverStep& step = s->input_.steps[s->done_];
    inputs.insert(inputs.end(), s->guided_ ? 2 : 1, context.backend->scale_input(context, s->x_, step.input_scale));
    timesteps.insert(timesteps.end(), s->masks_.size(), step.timestep);
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

// output [rows, h, w, C]
void Sampling::solve(const Context& context, const Tensor& output) {
  Tensor prediction, next;
  context.backend->solver_step(context,
                               {.x = x_,
                                .previous = previous_,
                                .output = output,
                                .guided = guided_,
                                .guidance = input_.guidance,
                                .seeds = input_.seeds,
                                .steps_done = done_},
                               input_.steps[done_], prediction, next);
  x_ = std::move(next);
  for (std::size_t p = depth_; p-- > 1;) previous_[p] = std::move(previous_[p - 1]);
  previous_[0] = std::move(prediction);
  ++done_;
}

}  // namespace cones
