// The sampling loop: from initial latents to a picture's latents with one UNet call per step.
//
// Every solver is linear in its tensors (latents, model output, what earlier steps predicted, noise), so lib/diffusion/samplers computes
// coefficients and this one loop runs them all. Several calls' pictures take their steps together, each wherever it is in its own
// schedule; and a call's own pictures need not keep pace.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "device/backend.h"
#include "model/unet.h"

namespace cones {

struct SampleInput {
  Tensor latents;              // [B, h, w, C], scaled by the schedule's initial noise scale
  index_t regions = 1;         // R: what each picture is blended of, a text and a mask for each; the pictures' one after another
  Backend::Windows windows;    // what a region's row sees of the latents; no corners where R is 1
  Tensor weights;              // [B·R, h, w] fp32, the regions' at every position; undefined where R is 1
  Tensor embeddings;           // [B·R, T, D]
  Tensor negative_embeddings;  // [B·R, T, D]; undefined: no guidance
  double guidance = 1;         // o = o_negative + guidance·(o_positive − o_negative); a UNet with time_cond_dim is told it
  Tensor conditions;           // [B, h, w, X], what the UNet sees behind the latents, of the type of activations; undefined: nothing
  bool by_picture = false;     // guided by `conditions`, too: three rows of the UNet for each picture (Backend::SolverInput)
  double image_guidance = 1;
  /// What is known of the pictures: put back after every step.
  struct Known {
    Tensor image, noise;  // [B, h, w, C]; undefined: nothing is known
    Tensor mask;          // [B, h, w, 1]: 1 is painted, 0 is kept
    /// Per step: how much of each there is in latents after it.
    std::vector<std::array<double, 2>> shares;
  } known;
  std::vector<SolverStep> steps;
  std::vector<std::uint64_t> seeds;         // [B], for solvers that add noise
  std::vector<const ConceptMask*> masks;    // [B·R] or empty; a mask serves its negative prompt too
  AdapterRows adapters;                     // [B] or empty; a picture's adapters serve all of its rows
  bool in_step = false;                     // no picture takes a step before all have taken the one before: for who looks on
};

/// The pictures of one call on their way. Between steps it holds latents, earlier predictions and the text's keys and
/// values, which do not change from step to step.
class Sampling {
 public:
  Sampling(const Context& context, const UNet& unet, SampleInput input);

  /// Steps that all of its pictures have taken.
  std::size_t steps_done() const;
  bool finished() const { return unfinished() == 0; }
  /// Pictures that are not finished.
  index_t unfinished() const;
  /// The latents so far [B, h, w, C].
  Tensor latents(const Context& context) const;
  /// The last step's prediction [B, h, w, C], of most solvers its x0; means nothing before the first.
  Tensor predicted(const Context& context) const;
  /// Pictures that may take a step now: all that are not finished, or with `in_step` those that have taken the fewest.
  index_t available() const;
  /// Rows of a UNet call for each picture: one for each region, two with guidance, three with a picture's.
  index_t rows_per_picture() const { return sides() * input_.regions; }
  /// Height and width of what the UNet sees of the latents, and tokens of the texts: who has the same can take steps in one UNet call.
  std::array<index_t, 3> size() const { return size_; }

  /// `pictures` of a sampling's available() ones, at least one: those that have taken the fewest steps, the first of them first.
  struct Part {
    Sampling* sampling;
    index_t pictures;
  };
  /// One step of each in one UNet call. Nobody's pictures depend on who else is there: every op computes a row by itself. After an
  /// error all are where they were.
  static void advance(const Context& context, const UNet& unet, std::span<const Part> together);

 private:
  index_t sides() const { return !guided_ ? 1 : input_.by_picture ? 3 : 2; }
  Tensor with_conditions(const Context& context, const Tensor& scaled, index_t side, index_t first) const;
  /// Pictures that have taken as many steps, and lie in one tensor.
  struct Block {
    index_t first, count;
    std::size_t done;
    Tensor x;  // [count, h, w, C]
    // Predictions of the steps before, the latest first; they mean something once so many steps were taken.
    std::array<Tensor, SolverStep::kPrevious> previous;
    index_t end() const { return first + count; }
  };
  std::vector<std::size_t> choose(const Context& context, index_t pictures);
  void split(const Context& context, std::size_t block, index_t count);
  bool whole(const std::vector<std::size_t>& chosen) const { return chosen.size() == blocks_.size(); }
  index_t pictures_in(const std::vector<std::size_t>& chosen) const;
  Tensor blend(const Context& context, const Tensor& outputs, const Block& block) const;
  void solve(const Context& context, const std::vector<std::size_t>& chosen, const Tensor& output);
  SampleInput input_;
  std::array<index_t, 3> size_;
  bool guided_;
  bool tells_guidance_ = false;  // the UNet is told its scale
  std::vector<const ConceptMask*> masks_;  // [sides·B·R]
  AdapterRows adapters_;                   // [sides·B·R], or empty
  TextKv text_;                            // [sides·B·R, T, C]; the negative prompts' rows first, as in diffusers
  std::vector<Block> blocks_;              // in the pictures' order; one, until pictures part company
};

}  // namespace cones
