#include <cmath>

#include "cuda/backend.h"

namespace cones {

void Cuda::noised_rows(const Context& context, const Tensor& moments, double latent_scale, std::span<const double> alphas_cumprod,
                       Prediction prediction, std::span<const NoisedRow> rows, Tensor& latents, Tensor& target) const {
  const Shape shape{static_cast<index_t>(rows.size()), moments.dim(1), moments.dim(2), moments.dim(3) / 2};
  latents = context.empty(shape, DType::f32);
  target = context.empty(shape, DType::f32);
  std::vector<cuda::NoisedRow> noised;
  for (const NoisedRow& row : rows) {
    const double alpha_bar = alphas_cumprod[static_cast<std::size_t>(row.timestep)];
    noised.push_back({row.picture, std::sqrt(alpha_bar), std::sqrt(1 - alpha_bar), row.noise.seed, row.noise.offset});
  }
  launch(library_.noised_rows, {.batch = shape[0],
                                .pixels = shape[1] * shape[2],
                                .channels = shape[3],
                                .moments = floats(moments),
                                .rows = noised.data(),
                                .latent_scale = latent_scale,
                                .v_prediction = prediction == Prediction::v_prediction,
                                .latents = latents.raw(),
                                .latents_type = cuda::Type::f32,
                                .target = floats(target)});
}

MseResult Cuda::mse_loss(const Context& context, const Tensor& output, const Tensor& target, std::span<const double> weights,
                         bool want_gradient) const {
  const index_t batch = output.dim(0), size = output.size() / batch;
  // means are doubles: two words each; the loss itself is read by nobody.
  MseResult result{context.empty({batch, 2}, DType::f32), context.empty({1}, DType::f32),
                   want_gradient ? context.empty(output.shape()) : Tensor()};
  const Tensor loss = context.empty({2}, DType::f32);
  const Tensor partial = scratch(context, cuda::mse_loss_scratch(batch, size));
  launch(library_.mse_loss, {.batch = batch,
                             .size = size,
                             .output = output.raw(),
                             .output_type = cuda_type(output.dtype()),
                             .target = floats(target),
                             .weights = weights.data(),
                             .means = static_cast<double*>(result.means.raw()),
                             .loss = static_cast<double*>(loss.raw()),
                             .finite = static_cast<int*>(result.finite.raw()),
                             .gradient = result.gradient.raw(),
                             .gradient_type = type(),
                             .loss_scale = static_cast<double>(context.gradient_scale),
                             .scratch = partial.raw()});
  return result;
}

std::vector<double> Cuda::read_losses(const Context&, const MseResult& result) const {
  std::vector<double> means(static_cast<std::size_t>(result.means.dim(0)));
  if (device_) device_->download(means.data(), result.means.raw(), result.means.bytes());
  return means;
}

void Cuda::limit_norm(const Context&, const Tensor& values, double limit) const {
  launch(library_.limit_norm, {.count = values.size(), .values = floats(values), .limit = limit});
}

void Cuda::adam(const Context& context, const AdamStep& step, const Tensor& gradient, const Tensor& values,
                const Tensor& first_moment, const Tensor& second_moment, const Tensor& finite) const {
  const double k = static_cast<double>(step.step);
  launch(library_.adam, {.count = values.size(),
                         .values = floats(values),
                         .first_moment = floats(first_moment),
                         .second_moment = floats(second_moment),
                         .gradient = gradient.raw(),
                         .gradient_type = cuda_type(gradient.dtype()),
                         .factor = 1 / static_cast<double>(context.gradient_scale),
                         .finite = static_cast<const int*>(finite.raw()),
                         .rate = step.learning_rate / (1 - std::pow(step.beta1, k)),
                         .beta1 = step.beta1,
                         .beta2 = step.beta2,
                         .correction2 = 1 / std::sqrt(1 - std::pow(step.beta2, k)),
                         .epsilon = step.epsilon,
                         .kept = 1 - step.learning_rate * step.weight_decay});
}

}  // namespace cones
