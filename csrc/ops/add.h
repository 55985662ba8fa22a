// Elementwise sums: residual connections and gradients that meet.
#pragma once

#include "ops/tape.h"

namespace cones {

/// a + b, of one size; shaped like a.
Tensor add_forward(const Context& context, const Tensor& a, const Tensor& b);
/// The same in the memory of b, where no other tensor has it: sums of gradients, which nobody reads any more.
Tensor add_onto(const Context& context, const Tensor& a, Tensor b);
Var add(Tape& tape, const Var& a, const Var& b);

}  // namespace cones
