#include "cuda/search.h"

#include "cuda/backend.h"

namespace cones {

// θ is the model's own matrix: nothing is copied.
Tensor Cuda::search_theta(const Context&, const Parameter&, const PreparedRef& prepared) const {
  return CudaWeights::of(*prepared).weight;
}

PreparedRef Cuda::search_gamma(const Context& context, const SearchState& state, const SearchCut* cut) const {
  auto gamma = std::make_shared<CudaGamma>();
  Tensor made = context.empty(state.theta.shape());
  launch(library_.search_gamma, {.type = type(),
                                 .view = cut ? cuda::SearchView::shut : cuda::SearchView::scale,
                                 .count = made.size(),
                                 .theta = state.theta.raw(),
                                 .displacement = floats(state.displacement),
                                 .score = cut ? floats(state.score) : nullptr,
                                 .last = cut ? static_cast<const std::uint32_t*>(cut->last.raw()) : nullptr,
                                 .per_step = cut ? cut->per_step : 0,
                                 .first = cut ? state.first : 0,
                                 .gamma = made.raw()});
  gamma->weight = cut ? made : state.theta;
  if (!cut) gamma->delta = made;
  return gamma;
}

void Cuda::search_update_outer(const Context& context, const Tensor& x, const Tensor& dy, const SearchState& state,
                               const SearchUpdate& step, const Tensor& finite) const {
  const index_t m = x.rows(), n = dy.columns(), k = x.columns();
  const Tensor partial = scratch(context, library_.search_update_outer_scratch(m, n, k));
  launch(library_.search_update_outer,
         {.type = type(),
          .M = m,
          .N = n,
          .K = k,
          .dy = dy.raw(),
          .x = x.raw(),
          .scale = 1 / context.gradient_scale,
          .step = {step.adam, step.algorithm1, step.clamp, step.rate, step.rest1, step.beta2, step.rest2, step.correction2,
                   step.epsilon},
          .theta = state.theta.raw(),
          .displacement = floats(state.displacement),
          .first_moment = floats(state.first_moment),
          .second_moment = floats(state.second_moment),
          .score = floats(state.score),
          .allowed = state.allowed ? CudaMask::of(*state.allowed).bits() : nullptr,
          .finite = static_cast<const int*>(finite.raw()),
          .scratch = partial.raw(),
          .arrived = counters()});
}

Tensor Cuda::highest(const Context& context, std::span<const RankedWeights> tensors, float per_step, std::int64_t count,
                     const Tensor&) const {
  Tensor result = context.empty({3}, DType::f32);
  const Tensor bins = scratch(context, cuda::kSearchHighestScratch);
  std::vector<const float*> values, seconds;
  std::vector<std::int64_t> sizes, firsts;
  for (const RankedWeights& weights : tensors) {
    values.push_back(floats(weights.values));
    seconds.push_back(weights.seconds.defined() ? floats(weights.seconds) : nullptr);
    sizes.push_back(weights.values.size());
    firsts.push_back(weights.first);
  }
  launch(library_.search_highest, {.tensors = static_cast<std::int64_t>(tensors.size()),
                                   .values = values.data(),
                                   .seconds = seconds.data(),
                                   .sizes = sizes.data(),
                                   .firsts = firsts.data(),
                                   .per_step = per_step,
                                   .count = count,
                                   .scratch = bins.raw(),
                                   .result = static_cast<std::uint32_t*>(result.raw())});
  return result;
}

}  // namespace cones
