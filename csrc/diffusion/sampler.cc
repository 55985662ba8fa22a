#include "diffusion/sampler.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/rng.h"

namespace cones {
namespace {

// All of them along the batch; a single one as it is.
Tensor stack(const Context& context, const std::vector<Tensor>& parts) {
  if (parts.size() == 1) return parts[0];
  const Shape& s = parts[0].shape();
  index_t rows = 0;
  for (const Tensor& part : parts) rows += part.dim(0);
  Tensor out = context.empty(s.rank() == 4 ? Shape{rows, s[1], s[2], s[3]} : Shape{rows, s[1], s[2]});
  if (context.planning()) return out;
  float* to = out.data();
  for (const Tensor& part : parts) to = std::copy_n(part.data(), part.size(), to);
  return out;
}

}  // namespace

Sampling::Sampling(const Context& context, const UNet& unet, SampleInput input)
    : input_(std::move(input)),
      size_{input_.latents.dim(1), input_.latents.dim(2), input_.embeddings.dim(1)},
      guided_(input_.negative_embeddings.defined() && input_.guidance != 1),
      masks_(input_.masks),
      x_(std::exchange(input_.latents, Tensor())) {
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
    Tensor scaled = context.empty(s->x_.shape());
    if (!context.planning())
      for (index_t j = 0; j < scaled.size(); ++j)
        scaled.data()[j] = static_cast<float>(step.input_scale * static_cast<double>(s->x_.data()[j]));
    inputs.insert(inputs.end(), s->guided_ ? 2 : 1, scaled);
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
    s->solve(context, context.planning() ? nullptr : output.slice(row, row + s->rows()).data());
    row += s->rows();
  }
}

// output [rows, h, w, C]
void Sampling::solve(const Context& context, const float* output) {
  const SolverStep& step = input_.steps[done_];
  const index_t batch = x_.dim(0), picture = x_.size() / batch;
  Tensor x0 = context.empty(x_.shape()), next = context.empty(x_.shape());
  std::vector<float> noise(step.noise != 0 ? static_cast<std::size_t>(picture) : 0);
  for (index_t b = 0; b < batch && !context.planning(); ++b) {
    // Values [0, picture) of a seed are the initial latents; every step takes the next stretch.
    if (step.noise != 0)
      philox_normal(input_.seeds[static_cast<std::size_t>(b)],
                    static_cast<std::uint64_t>(picture) * static_cast<std::uint64_t>(done_ + 1), noise.data(), picture);
    for (index_t k = 0; k < picture; ++k) {
      const index_t j = b * picture + k;
      double o = static_cast<double>(output[guided_ ? x_.size() + j : j]);
      if (guided_) {
        const double negative = static_cast<double>(output[j]);
        o = negative + input_.guidance * (o - negative);
      }
      const double old = static_cast<double>(x_.data()[j]);
      const double clean = step.x0_from_x * old + step.x0_from_output * o;
      double value = step.x_from_x * old + step.x_from_x0 * clean;
      if (previous_x0_.defined()) value += step.x_from_previous_x0 * static_cast<double>(previous_x0_.data()[j]);
      if (step.noise != 0) value += step.noise * static_cast<double>(noise[static_cast<std::size_t>(k)]);
      x0.data()[j] = static_cast<float>(clean);
      next.data()[j] = static_cast<float>(value);
    }
  }
  x_ = next;
  previous_x0_ = x0;
  ++done_;
}

}  // namespace cones
