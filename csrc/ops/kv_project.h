// K and V projections: the only weights that concepts touch.
//
// y_b = x_b (M_b ⊙ W)ᵀ with a mask of its own per batch row (DESIGN "Masks are data, not weights"): the base weights are
// never written. During a concept search the same projections read γ = ξ ⊙ θ instead (Algorithm A2).
#pragma once

#include <vector>

#include "ops/linear.h"
#include "ops/tape.h"

namespace cones {

class ConceptMask;  // ops/concept_mask.h

class KvWeights {
 public:
  /// index: position among the model's K-V tensors, in the network's order.
  KvWeights(const Context& context, const Parameter* weight, int index);

  const Parameter& parameter() const { return *weight_; }
  int index() const { return index_; }
  index_t in() const { return linear_.in(); }
  index_t out() const { return linear_.out(); }
  const LinearWeights& base() const { return linear_; }

 private:
  const Parameter* weight_;
  int index_;
  LinearWeights linear_;
};

/// γ of the searched tensors, made anew for every step (concepts/search.h).
class ScaledKv {
 public:
  virtual ~ScaledKv() = default;
  /// Null for tensors that are not searched. (Backend::search_gamma)
  virtual const Prepared* gamma(int kv_index) const = 0;
};

/// How one forward pass sees the K-V weights. Default: as the base model has them.
struct KvView {
  /// Per batch row, null for the base weights; empty for the base weights everywhere.
  std::vector<const ConceptMask*> masks;
  const ScaledKv* scaled = nullptr;
};

/// x [B, T, in] → [B, T, out]
Tensor kv_project_forward(const Context& context, const Tensor& x, const KvWeights& weights, const KvView& view);
/// dy [B, T, out] → dx [B, T, in]; + `onto`, what the input's gradient is so far, where defined.
Tensor kv_project_backward_input(const Context& context, const Tensor& dy, const KvWeights& weights,
                                 const KvView& view, const Tensor& onto = {});
Var kv_project(Tape& tape, const Var& x, const KvWeights& weights, const KvView& view);

}  // namespace cones
