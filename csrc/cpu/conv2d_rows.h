// Pixels of feature maps as rows of matrices.
#pragma once

#include "base/error.h"
#include "base/tensor.h"

namespace cones {

struct Map {  // a feature map [B, H, W, C]
  index_t batch, height, width, channels;
  explicit Map(const Shape& s) : batch(s[0]), height(s[1]), width(s[2]), channels(s[3]) {
    check(s.rank() == 4, "feature maps are [B, H, W, C]");
  }
};

// Where the rows of one tap lie: pixel (y · step + dy, x · step + dx) of `map` for pixel (y, x) of a grid.
struct TapRows {
  Map map;
  const float* data;
  const float* zeros;  // at least `channels`
  index_t grid_height, grid_width, step;

  /// table[i] for pixels [begin, end) of the grid, batch rows first.
  void fill(index_t begin, index_t end, index_t dy, index_t dx, const float** table) const;
};

}  // namespace cones
