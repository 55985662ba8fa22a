// The sampling loop: from initial latents to a picture's latents with one UNet call per step.
//
// Every solver (DPM-Solver++ 2M, DDIM, Euler) is linear in its tensors, so lib/diffusion/samplers computes coefficients and this one
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
  index_t regions = 1;         // R: what each picture is blended of, a text and a mask for each; the pictures' one after another
  Tensor weights;              // [B·R, h, w] fp32, the regions' at every position; undefined where R is 1
  Tensor embeddings;           // [B·R, T, D]
  Tensor negative_embeddings;  // [B·R, T, D]; undefined: no guidance
  double guidance = 1;         // o = o_negative + guidance·(o_positive − o_negative)
  std::vector<SolverStep> steps;
  std::vector<std::uint64_t> seeds;         // [B], for solvers that add noise
  std::vector<const ConceptMask*> masks;    // [B·R] or empty; a mask serves its negative prompt too
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
  /// Rows of its UNet calls: one for each region of a picture, two with guidance.
  index_t rows() const { return static_cast<index_t>(masks_.size()); }
  /// Height and width of the latents and tokens of the texts: who has the same can take steps in one UNet call.
  std::array<index_t, 3> size() const { return size_; }

  /// One step of all, none of which is finished, in one UNet call. Nobody's pictures depend on who else is there: every op
  /// computes a row by itself. After an error all are where they were.
  static void advance(const Context& context, const UNet& unet, std::span<Sampling* const> together);

 private:
  std::vector<Tensor> inputs(const Context& context) const;
  void solve(const Context& context, const Tensor& output);
  SampleInput input_;
  std::array<index_t, 3> size_;
  bool guided_;
  std::vector<const ConceptMask*> masks_;  // [rows]
  Tensor weights_;                         // [rows, h, w], undefined where pictures have one region
  TextKv text_;                            // [rows, T, C]; the negative prompts' rows first, as in diffusers
  Tensor x_, previous_x0_;
  std::size_t done_ = 0;
};

}  // namespace cones
