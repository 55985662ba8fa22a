// Nearest-neighbour resizing, as torch.nn.functional.interpolate(mode="nearest").
#pragma once

#include "library.h"

namespace cones::cuda {

/// y [batch, out_height, out_width, channels] of x [batch, height, width, channels], any size to any (smaller ones too):
/// y[i, j] = x[⌊i·height/out_height⌋, ⌊j·width/out_width⌋], rounded in fp32 as PyTorch does. `type` is 16-bit.
struct UpsampleNearestForwardArgs {
  Type type;
  std::int64_t batch;
  std::int64_t height;
  std::int64_t width;
  std::int64_t channels;
  std::int64_t out_height;
  std::int64_t out_width;
  const void* x;
  void* y;
};
int upsample_nearest_forward(Stream* stream, const UpsampleNearestForwardArgs& args);

/// dx, shaped like x, of dy, shaped like y: sums in fp32, by rows and then columns of dy.
struct UpsampleNearestBackwardArgs {
  Type type;
  std::int64_t batch;
  std::int64_t height;
  std::int64_t width;
  std::int64_t channels;
  std::int64_t out_height;
  std::int64_t out_width;
  const void* dy;
  void* dx;
};
int upsample_nearest_backward(Stream* stream, const UpsampleNearestBackwardArgs& args);

}  // namespace cones::cuda
