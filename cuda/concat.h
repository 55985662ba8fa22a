// Skip connections: two feature maps side by side in the channels.
#pragma once

#include "library.h"

namespace cones::cuda {

/// y [rows, a_channels + b_channels] of a [rows, a_channels] and b [rows, b_channels]; any 16-bit elements.
struct ConcatChannelsForwardArgs {
  std::int64_t rows;
  std::int64_t a_channels;
  std::int64_t b_channels;
  const void* a;
  const void* b;
  void* y;
};
int concat_channels_forward(Stream* stream, const ConcatChannelsForwardArgs& args);

/// da and db of dy; null means not wanted.
struct ConcatChannelsBackwardArgs {
  std::int64_t rows;
  std::int64_t a_channels;
  std::int64_t b_channels;
  const void* dy;
  void* da;
  void* db;
};
int concat_channels_backward(Stream* stream, const ConcatChannelsBackwardArgs& args);

}  // namespace cones::cuda
