// The pictures of one call, from noise to latents, step by step.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "diffusion/sampler.h"
#include "jobs/latents.h"
#include "jobs/plan.h"

namespace cones::jobs {

/// What decides the memory of a drawing.
struct DrawingSize {
  Shape shape;  // of the latents, [B, h, w, C]
  index_t tokens;
  bool guided;
  index_t regions = 1;                 // of each picture
  std::array<index_t, 2> window = {};  // height and width of what a region's row sees; where there are several
  bool by_picture = false;             // guided by a picture, too
  bool known = false;                  // what is known of the pictures is kept
  AdapterRows adapters = {};           // of each picture, or empty

  /// Height and width of the UNet's input, and tokens of the texts.
  std::array<index_t, 3> seen() const {
    return regions == 1 ? std::array{shape[1], shape[2], tokens} : std::array{window[0], window[1], tokens};
  }

  index_t pictures() const { return shape[0]; }
  index_t rows_per_picture() const { return (!guided ? 1 : by_picture ? 3 : 2) * regions; }
  index_t rows() const { return rows_per_picture() * pictures(); }
};

struct Drawing : LatentInput {
  bool guided = false;          // with negative texts, and a guidance other than 1
  std::vector<float> negative;  // [B·R, T, D]
  std::vector<float> weights;   // [B·R, h, w]: how much of a region there is in a position; empty where R is 1
  Backend::Windows windows;     // what a region's row sees; no corners where R is 1
  double guidance = 1;
  std::vector<float> conditions;  // [B, X, h, w], X what the UNet has beside the latents' channels
  bool by_picture = false;
  double image_guidance = 1;
  bool known = false;                        // with these (Sampling's Known):
  std::vector<float> image, noise;           // [B, C, h, w]
  std::vector<float> repaint;                // [B, 1, h, w]
  std::vector<std::array<double, 2>> shares;  // [steps]
  std::vector<SolverStep> steps;
  std::vector<std::uint64_t> seeds;  // [B]
  AdapterRows adapters;              // [B] or empty
  bool in_step = false;              // its pictures keep pace, for who looks at them on their way

  DrawingSize size() const { return {shape, tokens, guided, regions, {windows.height, windows.width}, by_picture, known, adapters}; }
};

Sampling begin(const Context& context, const Model& model, const Drawing& in);

/// The most rows of one UNet call where several drawings share it. Larger batches gain nothing more (docs/log/optimisation-log.md).
constexpr index_t kMostRows = 16;

/// Drawings, alike but for their rows, that take their steps together, up to kMostRows in each: the peak of a step, and what they hold
/// between steps. (One of them alone takes all of its own rows.)
Plan plan_together(const Model& model, const std::vector<DrawingSize>& drawings);

}  // namespace cones::jobs
