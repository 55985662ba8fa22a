#include "base/error.h"
#include "cuda/backend.h"

namespace cones {

Tensor Cuda::scale_input(const Context& context, const Tensor& x, double factor) const {
  Tensor scaled = context.empty(x.shape());
  launch(library_.scale_to,
         {.type = type(), .count = x.size(), .copies = 1, .factor = factor, .x = floats(x), .y = scaled.raw()});
  return scaled;
}

namespace {

cuda::WindowList window_list(const Backend::Windows& windows) {
  check(windows.regions() <= cuda::kMostWindows, "as many regions as the kernel's list holds");
  cuda::WindowList list{.regions = windows.regions(), .height = windows.height, .width = windows.width, .top = {}, .left = {}};
  for (std::size_t r = 0; r < windows.corners.size(); ++r) {
    list.top[r] = static_cast<std::int32_t>(windows.corners[r][0]);
    list.left[r] = static_cast<std::int32_t>(windows.corners[r][1]);
  }
  return list;
}

}  // namespace

Tensor Cuda::crop_rows(const Context& context, const Tensor& x, const Windows& windows) const {
  Tensor y = context.empty({x.dim(0) * windows.regions(), windows.height, windows.width, x.columns()}, x.dtype());
  launch(library_.crop_rows, {.pictures = x.dim(0),
                              .height = x.dim(1),
                              .width = x.dim(2),
                              .channels = x.columns(),
                              .bytes = static_cast<std::int64_t>(dtype_size(x.dtype())),
                              .windows = window_list(windows),
                              .x = x.raw(),
                              .y = y.raw()});
  return y;
}

Tensor Cuda::blend_rows(const Context& context, const Tensor& x, const Tensor& weights, const Windows& windows) const {
  Tensor y = context.empty({x.dim(0) / windows.regions(), weights.dim(1), weights.dim(2), x.columns()}, DType::f32);
  launch(library_.blend_rows, {.pictures = y.dim(0),
                               .height = y.dim(1),
                               .width = y.dim(2),
                               .channels = x.columns(),
                               .windows = window_list(windows),
                               .x = floats(x),
                               .weights = floats(weights),
                               .y = floats(y)});
  return y;
}

void Cuda::solver_step(const Context& context, const SolverInput& in, const SolverStep& step, Tensor& prediction,
                       Tensor& next) const {
  const index_t batch = in.x.dim(0), picture = in.x.size() / batch;
  prediction = context.empty(in.x.shape(), DType::f32);
  next = context.empty(in.x.shape(), DType::f32);
  const auto before = [&](std::size_t p) { return step.x_from_previous[p] != 0 && in.previous[p].defined() ? floats(in.previous[p]) : nullptr; };
  launch(library_.solver_step, {.batch = batch,
                                .picture = picture,
                                .latents = floats(in.x),
                                .output = in.output.raw(),
                                .output_type = cuda_type(in.output.dtype()),
                                .guided = in.guided,
                                .guidance = in.guidance,
                                .by_picture = in.by_picture,
                                .image_guidance = in.image_guidance,
                                .previous = {before(0), before(1), before(2), before(3)},
                                .prediction = floats(prediction),
                                .next = floats(next),
                                .prediction_from_x = step.prediction_from_x,
                                .prediction_from_output = step.prediction_from_output,
                                .x_from_x = step.x_from_x,
                                .x_from_prediction = step.x_from_prediction,
                                .x_from_previous = {step.x_from_previous[0], step.x_from_previous[1], step.x_from_previous[2],
                                                    step.x_from_previous[3]},
                                .noise = step.noise,
                                .seeds = in.seeds.data(),
                                .offset = static_cast<std::uint64_t>(picture) * (in.steps_done + 1)});
}

Tensor Cuda::keep_known(const Context& context, const Tensor& x, const Tensor& image, const Tensor& noise, const Tensor& mask,
                        double image_share, double noise_share) const {
  Tensor y = context.empty(x.shape(), DType::f32);
  launch(library_.keep_known, {.count = x.size(),
                               .channels = x.columns(),
                               .x = floats(x),
                               .image = floats(image),
                               .noise = floats(noise),
                               .mask = floats(mask),
                               .image_share = image_share,
                               .noise_share = noise_share,
                               .y = floats(y)});
  return y;
}

}  // namespace cones
