// The search for concept neurons: Algorithm A2 (default) and Algorithm 1 of the paper.
//
// ξ scales every searched K-V weight, γ = ξ ⊙ θ, and starts at 1. Each step lowers the concept-implanting loss L(γ) a
// little; what was scaled down most, or whose summed score θ·∂L/∂θ is highest, is a concept neuron (Theorem 3.1).
//
//   A2 (App. A.2):  score g = θ ⊙ ∇L(γ);  gradient of ξ = g                (Eq. A13, A15)
//   1 (§3.1):       score g = γ ⊙ ∇L(γ);  gradient of ξ = ξ ⊙ g           (Eq. 11: γ' = γ ⊙ (1 − ρ γ ⊙ ∇L))
//   both:           S = Σ_k g                                                (M_p of Algorithm 1)
//
// Straight-through (the default of lib/; not in the paper): the forward pass sees the mask itself, γ = M ⊙ θ with M = 0 for
// the weights of highest displacement, so that every step measures what shutting those together does; ξ takes the gradient
// as if it had been ξ ⊙ θ (the straight-through estimator: Bengio et al. 2013; for masks of trained weights Mallya et al.
// 2018). What stays shut is what lowers the loss with all the others shut.
//
// Per weight only fp32 state is held: the displacement 1 − ξ (kept instead of ξ: it is tiny, and fp32 is dense near 0),
// the optimiser's moments, and S. The weight gradient dYᵀX becomes an update of this state tile by tile as it is
// computed and is never stored.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "concepts/learned_identifier.h"
#include "diffusion/training_batch.h"
#include "model/unet.h"

namespace cones {

enum class Algorithm { a2, one };
enum class Optimizer { adam, sgd };
enum class Ranking { displacement, score };

struct SearchOptions {
  Algorithm algorithm = Algorithm::a2;
  Optimizer optimizer = Optimizer::adam;
  double learning_rate = 6e-5;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  // Adam's, PyTorch's defaults
  bool clamp = true;                                  // keep ξ within [0, 1]
  std::int64_t shut = 0;  // straight-through: how many weights are 0 in γ, all others being θ; 0: γ = ξ ⊙ θ
  std::int64_t ramp = 0;  // from none in the first step their number grows to all in step `ramp`
  std::vector<int> tensors;                           // indices of the searched K-V tensors
  std::vector<std::vector<std::uint32_t>> within;     // per searched tensor, or empty: no restriction
  Checkpointing checkpointing = Checkpointing::none;
};

struct StepResult {
  double loss = 0;
  std::vector<double> rows;  // unweighted mean squared error per row
};

class ConceptSearch final : public ParameterGradients, public ScaledKv {
 public:
  /// The UNet must outlive the search; its weights are only read.
  ConceptSearch(const Context& context, const UNet& unet, const SearchOptions& options);

  /// One step on one batch. Aborts before ξ changes or not at all, so the state is always that of a whole step.
  /// CONES_LOSS_NOT_FINITE leaves the state as it was. `identifier` (null for none) takes the same step.
  StepResult step(const Context& context, const TrainingBatch& batch, LearnedIdentifier* identifier = nullptr);
  /// From any thread: the search is over, and a step under way need not be taken to its end. Once backward has begun it is torn then,
  /// and nothing may be asked of the search any more; steps fail with CONES_DISPOSED.
  void give_up() { given_up_ = true; }
  /// Whether a step was broken off so.
  bool torn() const { return torn_ && given_up_; }
  /// May be read while another thread runs step().
  std::int64_t steps_done() const { return steps_.load(std::memory_order_relaxed); }

  /// Values that rank neurons, shaped like tensor i of the searched ones.
  const Tensor& ranking(Ranking by, std::size_t i) const;
  std::size_t size() const { return tensors_.size(); }
  const Parameter& parameter(std::size_t i) const { return tensors_[i].weights->parameter(); }

  /// Sorted indices with ranking > threshold, per searched tensor.
  std::vector<std::vector<std::uint32_t>> select_threshold(const Context& context, Ranking by, double threshold) const;
  struct Selection {
    std::vector<std::vector<std::uint32_t>> indices;
    double threshold;  // the lowest ranking selected
  };
  /// The `count` highest-ranked weights over all searched tensors, never one whose ranking is not positive (its scaling
  /// down did not lower the loss). Displacements that Adam's rounding alone tells apart go by their score; equal values go in order of
  /// tensor and index (device/ranking.h).
  Selection select_count(const Context& context, Ranking by, std::int64_t count) const;

  /// The whole state: steps, then per tensor displacement, first and second moment, S. Little-endian.
  std::vector<std::byte> save(const Context& context) const;
  std::size_t state_size() const;
  /// CONES_STATE_INVALID when the bytes are not a state of a search like this one.
  void load(const Context& context, std::span<const std::byte> state);

  // ParameterGradients
  bool wants(const Parameter& parameter) const override;
  void add(const Context& context, const Parameter& parameter, const Tensor& gradient) override;
  void add_outer(const Context& context, const Parameter& parameter, const Tensor& x, const Tensor& dy) override;
  // ScaledKv
  const Prepared* gamma(int kv_index) const override;

 private:
  struct Searched {
    const KvWeights* weights;
    SearchState state;
    PreparedRef gamma;  // of this step
  };
  struct StateHeader;
  StateHeader state_header() const;
  /// f(tensor, is_square) for every tensor of the saved state, in its order; squares are never negative.
  template <class F>
  void each_saved(const F& f) const;
  const SearchState& find(const Parameter& parameter) const;
  SearchCut cut(const Context& context);
  std::vector<RankedWeights> ranked(Ranking by) const;
  float per_step(Ranking by) const;
  void make_gammas(const Context& context);
  SearchUpdate update_of_step() const;

  const UNet& unet_;
  SearchOptions options_;
  std::vector<Searched> tensors_;
  std::vector<int> position_;  // by K-V index: position in tensors_, or -1
  Tensor last_cut_;            // straight-through: a guess of the next step's
  Tensor finite_;              // of the step under way: whether its loss is
  std::atomic<std::int64_t> steps_{0};
  std::atomic<bool> given_up_ = false;
  bool torn_ = false;  // backward is under way, or did not end
};

}  // namespace cones
