#include "diffusion/sampler.h"

#include <algorithm>

#include "base/error.h"
#include "base/rng.h"

namespace cones {
namespace {

// [a; b] along the batch.
Tensor stack(const Context& context, const Tensor& a, const Tensor& b) {
  const Shape& s = a.shape();
  Tensor out = context.empty(s.rank() == 4 ? Shape{2 * s[0], s[1], s[2], s[3]} : Shape{2 * s[0], s[1], s[2]});
  if (context.planning()) return out;
  std::copy_n(a.data(), a.size(), out.data());
  std::copy_n(b.data(), b.size(), out.data() + a.size());
  return out;
}

}  // namespace

Tensor sample(const Context& context, const UNet& unet, const SampleInput& input) {
  const index_t batch = input.latents.dim(0);
  const bool guided = input.negative_embeddings.defined() && input.guidance != 1;
  const index_t rows = guided ? 2 * batch : batch;  // negative rows first, as in diffusers

  KvView view{.masks = input.masks};
  if (guided) view.masks.insert(view.masks.end(), input.masks.begin(), input.masks.end());

  Tape tape(context);
  const Tensor text = guided ? stack(context, input.negative_embeddings, input.embeddings) : input.embeddings;
  const TextKv text_kv = unet.project_text(tape, Var(text), view);

  Tensor x = context.empty(input.latents.shape()), previous_x0;
  if (!context.planning()) std::copy_n(input.latents.data(), x.size(), x.data());
  const index_t picture = x.size() / batch;

  for (std::size_t i = 0; i < input.steps.size(); ++i) {
    const SolverStep& step = input.steps[i];
    Tensor scaled = context.empty(x.shape());
    if (!context.planning())
      for (index_t j = 0; j < x.size(); ++j)
        scaled.data()[j] = static_cast<float>(step.input_scale * static_cast<double>(x.data()[j]));
    if (guided) scaled = stack(context, scaled, scaled);

    const std::vector<double> timesteps(static_cast<std::size_t>(rows), step.timestep);
    const Tensor output =
        unet.forward(tape, {.latents = Var(scaled), .timesteps = timesteps, .text = text_kv, .view = view}).value();

    Tensor x0 = context.empty(x.shape()), next = context.empty(x.shape());
    for (index_t b = 0; b < batch && !context.planning(); ++b) {
      std::vector<float> noise;
      if (step.noise != 0) {
        noise.resize(static_cast<std::size_t>(picture));
        // Values [0, picture) of a seed are the initial latents; every step takes the next stretch.
        philox_normal(input.seeds[static_cast<std::size_t>(b)],
                      static_cast<std::uint64_t>(picture) * static_cast<std::uint64_t>(i + 1), noise.data(), picture);
      }
      for (index_t k = 0; k < picture; ++k) {
        const index_t j = b * picture + k;
        double o = static_cast<double>(output.data()[guided ? x.size() + j : j]);
        if (guided) {
          const double negative = static_cast<double>(output.data()[j]);
          o = negative + input.guidance * (o - negative);
        }
        const double old = static_cast<double>(x.data()[j]);
        const double clean = step.x0_from_x * old + step.x0_from_output * o;
        double value = step.x_from_x * old + step.x_from_x0 * clean;
        if (previous_x0.defined()) value += step.x_from_previous_x0 * static_cast<double>(previous_x0.data()[j]);
        if (step.noise != 0) value += step.noise * static_cast<double>(noise[static_cast<std::size_t>(k)]);
        x0.data()[j] = static_cast<float>(clean);
        next.data()[j] = static_cast<float>(value);
      }
    }
    x = next;
    previous_x0 = x0;
    if (input.on_step) input.on_step(static_cast<int>(i), x0);
  }
  return x;
}

}  // namespace cones
