#include "jobs/drawing.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "ops/transfer.h"

namespace cones::jobs {
namespace {

// With sizes only, for plans.
Drawing drawing_of(const DrawingSize& size) {
  Drawing drawing;
  drawing.shape = size.shape;
  drawing.tokens = size.tokens;
  drawing.guided = size.guided;
  drawing.regions = size.regions;
  if (size.regions > 1) drawing.windows = {size.window[0], size.window[1], std::vector<std::array<index_t, 2>>(static_cast<std::size_t>(size.regions))};
  drawing.adapters = size.adapters;
  drawing.guidance = size.guided ? 2 : 1;
  drawing.by_picture = size.by_picture;
  drawing.known = size.known;
  drawing.steps.resize(2);  // the second holds the first's prediction, as all others do
  drawing.shares.resize(2);
  return drawing;
}

}  // namespace

Sampling begin(const Context& context, const Model& model, const Drawing& in) {
  SampleInput input{.latents = in.upload_latents(context, DType::f32),
                    .regions = in.regions,
                    .windows = in.windows,
                    .weights = {},
                    .embeddings = in.upload_text(context, model),
                    .negative_embeddings = {},
                    .guidance = in.guidance,
                    .conditions = {},
                    .by_picture = in.by_picture,
                    .image_guidance = in.image_guidance,
                    .known = {},
                    .steps = in.steps,
                    .seeds = in.seeds,
                    .masks = mask_pointers(in.masks),
                    .adapters = in.adapters,
                    .in_step = in.in_step};
  if (in.regions > 1) input.weights = upload(context, in.weights, {in.shape[0] * in.regions, in.shape[1], in.shape[2]}, DType::f32);
  if (in.guided) input.negative_embeddings = upload(context, in.negative, in.text_shape(model));
  const Shape& shape = in.shape;
  const index_t beside = model.unet().config().in_channels - shape[3];
  if (beside > 0)
    input.conditions = upload_channels_last(context, in.conditions, {shape[0], shape[1], shape[2], beside}, context.backend->activation());
  if (in.known)
    input.known = {.image = upload_channels_last(context, in.image, shape, DType::f32),
                   .noise = upload_channels_last(context, in.noise, shape, DType::f32),
                   .mask = upload_channels_last(context, in.repaint, {shape[0], shape[1], shape[2], 1}, DType::f32),
                   .shares = in.shares};
  return Sampling(context, model.unet(), std::move(input));
}

namespace {

Plan plan_steps(const Model& model, const std::vector<DrawingSize>& drawings) {
  return plan_of(model.context(nullptr), [&](const Context& context) {
    std::vector<std::unique_ptr<Sampling>> samplings;
    for (const DrawingSize& size : drawings) samplings.push_back(std::make_unique<Sampling>(begin(context, model, drawing_of(size))));
    std::vector<Sampling::Part> together;
    for (index_t rows = 0; const auto& sampling : samplings) {
      const index_t fitting = drawings.size() == 1 ? sampling->unfinished() : (kMostRows - rows) / sampling->rows_per_picture();
      const index_t pictures = std::min(sampling->unfinished(), fitting);
      if (pictures == 0) continue;
      together.push_back({sampling.get(), pictures});
      rows += pictures * sampling->rows_per_picture();
    }
    for (int step = 0; step < 2; ++step) Sampling::advance(context, model.unet(), together);
    return samplings;
  });
}

}  // namespace

Plan plan_together(const Model& model, const std::vector<DrawingSize>& drawings) {
  // A row's adapters go one after another, and who takes a step with whom changes: the most is some one adapter's, in all rows.
  std::vector<std::shared_ptr<const Adapter>> adapters;
  for (const DrawingSize& drawing : drawings)
    for (const auto& row : drawing.adapters)
      for (const AdapterUse& use : row)
        if (std::ranges::find(adapters, use.adapter) == adapters.end()) adapters.push_back(use.adapter);
  if (adapters.empty()) return plan_steps(model, drawings);
  Plan most{};
  for (const auto& adapter : adapters) {
    std::vector<DrawingSize> all = drawings;
    for (DrawingSize& drawing : all)
      drawing.adapters.assign(static_cast<std::size_t>(drawing.pictures()), {{.adapter = adapter, .weight = 0.5f}});
    const Plan plan = plan_steps(model, all);
    most = {std::max(most.peak, plan.peak), plan.held};
  }
  return most;
}

}  // namespace cones::jobs
