#include "search_golden.h"

namespace cones::test {

UNetConfig search_unet_config() {
  UNetConfig c;
  c.block_out_channels = {16, 32};
  c.down_attention = {false, true};
  c.up_attention = {true, false};
  c.layers_per_block = {1, 1};
  c.heads = {2, 2};
  c.transformer_layers = {1, 1};
  c.cross_attention_dim = 24;
  c.norm_groups = 8;
  return c;
}

Tensor search_step_of(const Context& context, const std::vector<float>& values, index_t k) {
  constexpr index_t rows = 4, channels = 4, side = 8, pixels = side * side;
  Tensor out = context.empty({rows, side, side, channels});
  for (index_t b = 0; b < rows; ++b)
    for (index_t c = 0; c < channels; ++c)
      for (index_t p = 0; p < pixels; ++p)
        out.host()[(b * pixels + p) * channels + c] =
            values[static_cast<std::size_t>(((k * rows + b) * channels + c) * pixels + p)];
  return out;
}

}  // namespace cones::test
