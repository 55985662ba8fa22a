#include "jobs/loss.h"

#include "base/error.h"
#include "ops/mse_loss.h"
#include "ops/transfer.h"

namespace cones::jobs {
namespace {

std::vector<NoisedRow> noised_rows(const LossInput& in) {
  const Shape& shape = in.shape;
  if (static_cast<index_t>(in.timesteps.size()) != shape[0])
    fail("CONES_OPTION_INVALID", "timesteps must have one element per batch row.");
  std::vector<NoisedRow> rows;
  for (index_t b = 0; b < shape[0]; ++b) {
    const double t = in.timesteps[static_cast<std::size_t>(b)];
    if (!(t >= 0 && t < static_cast<double>(in.alphas_cumprod.size())))
      fail("CONES_OPTION_INVALID", "A timestep lies outside the training schedule.");
    const auto normals = static_cast<std::uint64_t>(shape[1] * shape[2] * shape[3]);
    rows.push_back({b, static_cast<int>(t), {in.seed, static_cast<std::uint64_t>(b) * normals}});
  }
  return rows;
}

}  // namespace

std::vector<double> loss(const Context& context, const Model& model, const LossInput& in) {
  const std::vector<NoisedRow> rows = noised_rows(in);
  TrainingBatch batch;
  make_noised_rows(context, upload_channels_last(context, in.moments, in.shape, DType::f32), in.latent_scale, in.alphas_cumprod,
                   in.prediction, rows, batch);

  Tape tape(context);
  const KvView view{.masks = mask_pointers(in.masks)};
  const Shape states{in.shape[0], in.tokens, model.unet().config().cross_attention_dim};
  const TextKv text = model.unet().project_text(tape, Var(upload(context, in.embeddings, states)), view);
  const Var output = model.unet().forward(
      tape, {.latents = Var(batch.latents), .timesteps = batch.timesteps, .text = text, .view = view});
  const std::vector<double> ones(in.timesteps.size(), 1.0);
  return read_loss(context, mse_loss(context, output.value(), batch.target, ones, false), ones).means;
}

}  // namespace cones::jobs
