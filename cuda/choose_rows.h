// Rows of a batch taken from a shorter list, each as often as it is wanted: text states that several pictures share.
#pragma once

#include "row_list.h"

namespace cones::cuda {

/// y [source.count, row]: row b is row source[b] of x [x_rows, row], or row b of `rest` [source.count, row] where source[b]
/// is −1. Any 16-bit elements; `row` is the number of elements of a row (T·D).
/// A number that is neither is a bug of the caller; nothing checks it.
struct ChooseRowsForwardArgs {
  std::int64_t row;
  const void* x;
  const void* rest;  // null where no source is −1
  void* y;
  RowList source;
};
int choose_rows_forward(Stream* stream, const ChooseRowsForwardArgs& args);

/// dx [x_rows, row] of dy [source.count, row]: the sum, in the order of the list and in fp32, of the rows that were taken
/// from each; zeros where none was. `type` is 16-bit.
struct ChooseRowsBackwardArgs {
  Type type;
  std::int64_t x_rows;
  std::int64_t row;
  const void* dy;
  void* dx;
  RowList source;
};
int choose_rows_backward(Stream* stream, const ChooseRowsBackwardArgs& args);

}  // namespace cones::cuda
