// The blocked loop under the weight gradients of linear layers and convolutions.
#pragma once

#include "cpu/gemm.h"

namespace cones {

/// pᵀ q for p [M, N] and q given by rows: `row(m)` is where row m [K] of q lies. See gemm_outer_tiles().
void outer_blocks(const Context& context, const Tensor& p, index_t k, const std::function<const float*(index_t)>& row,
                  const TileConsumer& consume);

}  // namespace cones
