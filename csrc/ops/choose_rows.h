// Rows of a batch taken from a shorter list, each as often as it is wanted: text states that several pictures share.
#pragma once

#include <vector>

#include "ops/tape.h"

namespace cones {

/// y [B, T, D]: row b is row source[b] of x [U, T, D], or row b of `rest` [B, T, D] where source[b] is −1.
Tensor choose_rows_forward(const Context& context, const Tensor& x, const std::vector<int>& source, const Tensor& rest = {});
/// dx [U, T, D] of dy [B, T, D]: the sum of the rows that were taken from it. `shape`: of x.
Tensor choose_rows_backward(const Context& context, const Tensor& dy, const std::vector<int>& source, const Shape& shape);
Var choose_rows(Tape& tape, const Var& x, std::vector<int> source, const Tensor& rest = {});

}  // namespace cones
