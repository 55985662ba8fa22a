// The pictures of one call, from noise to latents, step by step.
#pragma once

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
  index_t regions = 1;  // of each picture

  index_t rows() const { return (guided ? 2 : 1) * shape[0] * regions; }
};

struct Drawing : LatentInput {
  bool guided = false;          // with negative texts, and a guidance other than 1
  std::vector<float> negative;  // [B·R, T, D]
  std::vector<float> weights;   // [B·R, h, w]: how much of a region there is in a position; empty where R is 1
  double guidance = 1;
  std::vector<SolverStep> steps;
  std::vector<std::uint64_t> seeds;  // [B]

  DrawingSize size() const { return {shape, tokens, guided, regions}; }
};

Sampling begin(const Context& context, const Model& model, const Drawing& in);

/// Drawings, alike but for their rows, that take their steps together: the peak of a step, and what they hold between steps.
Plan plan_together(const Model& model, const std::vector<DrawingSize>& drawings);

}  // namespace cones::jobs
