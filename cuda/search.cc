#include "cuda/search.h"

#include "cuda/backend.h"

namespace cones {

// θ is the model's own matrix: nothing is copied.
Tensor Cuda::search_theta(const Context&, const Parameter&, const PreparedRef& prepared) const {
  return CudaWeights::of(*prepared).weight;
}

PreparedRef Cuda::search_gamma(const Context& context, const SearchState& state, const Tensor* cut, bool) const {
  auto gamma = std::make_shared<CudaGamma>();
  Tensor made = context.empty(state.theta.shape());
  launch(library_.search_gamma, {.type = type(),
                                 .view = cut ? cuda::SearchView::shut : cuda::SearchView::scale,
                                 .count = made.size(),
                                 .theta = state.theta.raw(),
                                 .displacement = floats(state.displacement),
                                 .cut = floats(cut),
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

Tensor Cuda::highest(const Context& context, std::span<const Tensor> tensors, std::int64_t count, const Tensor&) const {
  Tensor result = context.empty({1}, DType::f32);
  const Tensor bins = scratch(context, cuda::kSearchHighestScratch);
  std::vector<const float*> values;
  std::vector<std::int64_t> sizes;
  for (const Tensor& tensor : tensors) {
    values.push_back(floats(tensor));
    sizes.push_back(tensor.size());
  }
  launch(library_.search_highest, {.tensors = static_cast<std::int64_t>(tensors.size()),
                                   .values = values.data(),
                                   .sizes = sizes.data(),
                                   .count = count,
                                   .scratch = bins.raw(),
                                   .result = floats(result)});
  return result;
}

}  // namespace cones
