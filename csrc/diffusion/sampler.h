// The sampling loop: from initial latents to a picture's latents with one UNet call per step.
//
// Every solver is linear in its tensors: latents, model output, what earlier steps predicted, noise, so lib/diffusion/samplers computes coefficients and this one
// loop runs them all. Several calls' pictures take their steps together, each wherever it is in its own schedule.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "model/unet.h"

namespace cones {

struct SampleInput {
  Tensor latents;              // [B, h, w, C], scaled by the schedule's initial noise scale
  Tensor embeddings;           // [B, T, D]
  Tensor negative_embeddings;  // [B, T, D]; undefined: no guidance
  double guidance = 1;         // o = o_negative + guidance·(o_positive − o_negative)
  std::vector<SolverStep> steps;
  std::vector<std::uint64_t> seeds;         // [B], for solvers that add noise
  std::vector<const ConceptMask*> masks;    // [B] or empty; a picture's mask serves its negative prompt too
};

/// The pictures of one call on their way. Between steps it holds latents, the last prediction and the text's keys and
/// values, which do not change from step to step.
class Sampling {
 public:
  Sampling(const Context& context, const UNet& unet, SampleInput input);

  std::size_t steps_done() const { return done_; }
  bool finished() const { return done_ == input_.steps.size(); }
  /// The latents so far [B, h, w, C].
  const Tensor& latents() const { return x_; }
  /// The last step's prediction [B, h, w, C], of most solvers its x0; undefined before the first.
  const Tensor& predicted() const { return previous_[0]; }
  /// Rows of its UNet calls: two a picture with guidance.
  index_t rows() const { return guided_ ? 2 * x_.dim(0) : x_.dim(0); }
  /// Height and width of the latents and tokens of the texts: who has the same can take steps in one UNet call.
  std::array<index_t, 3> size() const { return size_; }

  /// One step of all, none of which is finished, in one UNet call. Nobody's pictures depend on who else is there: every op
  /// computes a row by itself. After an error all are where they were.
  static void advance(const Context& context, const UNet& unet, std::span<Sampling* const> together);

 private:
  void solve(const Context& context, const Tensor& output);
  SampleInput input_;
  std::array<index_t, 3> size_;
  bool guided_;
  std::vector<const ConceptMask*> masks_;  // [rows]
  TextKv text_;                            // [rows, T, C]; the negative prompts' rows first, as in diffusers
  Tensor x_;
  std::array<Tensor, SolverStep::kPrevious> previous_;  // predictions of the steps before, the latest first
  std::size_t depth_;                                   // how many of them are kept: what the schedule looks at, and the last
  std::size_t done_ = 0;
};

}  // namespace cones
