// Rows of a matrix by number: the end-of-text states, embeddings of tokens.
#pragma once

#include "row_list.h"

namespace cones::cuda {

/// y [indices.count, row] = rows of x [.., row]. Elements of 2 or 4 bytes. An index outside x is a bug of the caller; nothing
/// checks it.
struct GatherRowsArgs {
  int element_bytes;
  std::int64_t row;  // elements of a row
  const void* x;
  void* y;
  RowList indices;
};
int gather_rows(Stream* stream, const GatherRowsArgs& args);

}  // namespace cones::cuda
