#include "cpu/conv2d_rows.h"

namespace cones {

void TapRows::fill(index_t begin, index_t end, index_t dy, index_t dx, const float** table) const {
  index_t x = begin % grid_width, y = begin / grid_width % grid_height, b = begin / grid_width / grid_height;
  while (begin < end) {
    const index_t in_y = y * step + dy;
    const float* line = in_y >= 0 && in_y < map.height
                            ? data + (b * map.height + in_y) * map.width * map.channels
                            : nullptr;
    for (; x < grid_width && begin < end; ++x, ++begin) {
      const index_t in_x = x * step + dx;
      *table++ = line && in_x >= 0 && in_x < map.width ? line + in_x * map.channels : zeros;
    }
    x = 0;
    if (++y == grid_height) y = 0, ++b;
  }
}

}  // namespace cones
