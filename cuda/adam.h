// Adam's step on one small fp32 vector, as LearnedIdentifier::update of csrc/training/learned_identifier.cc: in fp64 for each
// element, in the CPU's order of operations.
#pragma once

#include "library.h"

namespace cones::cuda {

struct AdamArgs {
  std::int64_t count;
  float *values, *first_moment, *second_moment;  // [count]
  const void* gradient;                          // [count] of gradient_type (any); null: zeros
  Type gradient_type;
  double factor;                                 // of the gradient: 1/loss_scale
  const int* finite;                             // on the device: 0 there leaves everything as it is; null: always a step
  double rate;                                   // learning rate / (1 − beta1^step)
  double beta1, beta2;
  double correction2;                            // 1/√(1 − beta2^step)
  double epsilon;
  double kept;                                   // of the values before the step: 1 − learning rate · weight decay
};

int adam(Stream* stream, const AdamArgs& args);

}  // namespace cones::cuda
