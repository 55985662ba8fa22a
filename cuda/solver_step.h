// One step of a sampler for the pictures of one call, as Sampling::solve of csrc/diffusion/sampler.cc: with the guided model
// output o,
//   m    = prediction_from_x·x + prediction_from_output·o
//   next = x_from_x·x + x_from_prediction·m + Σₖ x_from_previous[k]·(m of k + 1 steps before) + noise·z,  z ~ N(0, I)
// in fp64 for each element, in the CPU's order of operations: with an fp32 output, the CPU's bits.
#pragma once

#include "library.h"

namespace cones::cuda {

struct SolverStepArgs {
  std::int64_t batch, picture;  // pictures; values of each
  const float* latents;         // x [batch, picture]
  const void* output;           // [rows, picture] of output_type (any); guided: rows = 2·batch, the negative prompts' first
  Type output_type;
  int guided;                   // 0: rows = batch, o = output
  double guidance;              // o = o_negative + guidance·(o_positive − o_negative)
  int by_picture;               // rows = 3·batch, o = o_0 + image_guidance·(o_1 − o_0) + guidance·(o_2 − o_1), whatever `guided` says
  double image_guidance;
  const float* previous[4];     // [batch, picture] each, the latest first; null: its coefficient is not looked at
  float* prediction;            // m [batch, picture]; may be one of previous
  float* next;                  // [batch, picture]; may be latents
  double prediction_from_x, prediction_from_output, x_from_x, x_from_prediction, x_from_previous[4];
  double noise;                 // 0: none is made
  const std::uint64_t* seeds;   // [batch], in host memory, read before this returns; null where noise is 0
  std::uint64_t offset;         // z of a picture: values [offset, offset + picture) of its seed's normal stream
};

int solver_step(Stream* stream, const SolverStepArgs& args);

}  // namespace cones::cuda
