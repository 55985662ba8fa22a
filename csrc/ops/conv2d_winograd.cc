#include "ops/conv2d_winograd.h"

#include <algorithm>
#include <vector>

#include "kernels/kernels.h"

namespace cones {
namespace {

constexpr index_t kProducts = 16;
// Channels summed in one chain: short, because the transforms amplify rounding.
constexpr index_t kDepth = 128;
// Tiles whose transformed inputs exist at a time (4 MB: they stay in the third-level cache), and tiles of one task, whose
// products [16, tiles, panel] stay in the second level.
constexpr index_t kInputFloats = index_t{1} << 20;
constexpr index_t kTaskTiles = 192;

constexpr index_t divide_up(index_t a, index_t b) { return (a + b - 1) / b; }

class Winograd {
 public:
  Winograd(const Context& context, const Map& map, const float* data, const float* zeros, const PackedMatrix& b,
           bool flipped, index_t pad_top, index_t pad_left, index_t out_height, index_t out_width, float* out,
           const Epilogue& epilogue)
      : context_(context),
        gemm_(*context.kernels->gemm),
        b_(b),
        flipped_(flipped),
        pad_top_(pad_top),
        pad_left_(pad_left),
        channels_(map.channels),
        height_(out_height),
        width_(out_width),
        out_(out),
        epilogue_(epilogue),
        rows_{map, data, zeros, divide_up(out_height, 2), divide_up(out_width, 2), 2},
        tiles_(map.batch * rows_.grid_height * rows_.grid_width),
        group_(std::min(tiles_, std::max(kTaskTiles, kInputFloats / (kProducts * channels_) / kTaskTiles * kTaskTiles))),
        inputs_(context.empty({kProducts, group_, channels_})),
        filters_(context.empty({context.pool->threads(), kProducts, kDepth, b.width()})),
        products_(context.empty({context.pool->threads(), kProducts, std::min(group_, kTaskTiles), b.width()})) {}

  void run() {
    for (index_t begin = 0; begin < tiles_; begin += group_) {
      const index_t count = std::min(group_, tiles_ - begin);
      context_.parallel(count, 8, [&](index_t first, index_t last, int) { transform_inputs(begin, first, last); });
      // Four tasks per thread: a panel of output channels each, and where panels are few a part of the tiles.
      const index_t wanted = context_.pool->threads() == 1 ? 1 : 4 * context_.pool->threads();
      const index_t steps = divide_up(count, gemm_.tile_rows);
      const index_t parts = std::min(steps, std::max(divide_up(count, kTaskTiles), divide_up(wanted, b_.panels())));
      context_.pool->run(b_.panels() * parts, [&](index_t i, int lane) {
        const index_t part = i / b_.panels(), step = gemm_.tile_rows;
        convolve_panel(i % b_.panels(), begin, steps * part / parts * step,
                       std::min(count, steps * (part + 1) / parts * step), lane);
      });
    }
  }

 private:
  // Inputs are kept by runs of channels, [C / kDepth][16][group][kDepth], so that a run's rows lie side by side.
  float* input(index_t channel, index_t product, index_t tile) const {
    const index_t depth = std::min(kDepth, channels_ - channel);
    return inputs_.data() + channel * kProducts * group_ + (product * group_ + tile) * depth;
  }

  void transform_inputs(index_t group_begin, index_t first, index_t last) const {
    const index_t count = last - first;
    std::vector<const float*> table(static_cast<std::size_t>(kProducts * count));
    for (index_t p = 0; p < kProducts; ++p)
      rows_.fill(group_begin + first, group_begin + last, p / 4 - pad_top_, p % 4 - pad_left_,
                 table.data() + p * count);
    for (index_t t = 0; t < count; ++t) {
      const float* pixels[kProducts];
      for (index_t p = 0; p < kProducts; ++p) pixels[p] = table[static_cast<std::size_t>(p * count + t)];
      for (index_t c = 0; c < channels_; c += kDepth) {
        const index_t depth = std::min(kDepth, channels_ - c);
        gemm_.winograd->input(depth, pixels, c, input(c, 0, first + t), group_ * depth);
      }
    }
  }

  // Output channels of one panel for tiles [first, last) of the group.
  void convolve_panel(index_t panel, index_t group_begin, index_t first, index_t last, int lane) const {
    const index_t width = b_.width(), count = last - first, tap_stride = channels_ * width;
    const int columns = static_cast<int>(std::min(width, b_.n() - panel * width));
    float* const filters = filters_.data() + lane * kProducts * kDepth * width;
    float* const products = products_.data() + lane * (products_.size() / context_.pool->threads());
    for (index_t c = 0; c < channels_; c += kDepth) {
      const index_t depth = std::min(kDepth, channels_ - c);
      const float* taps = b_.panel(panel) + c * width;
      gemm_.winograd->filter(depth * width, flipped_ ? taps + 8 * tap_stride : taps, flipped_ ? -tap_stride : tap_stride,
                             filters, depth * width);
      for (index_t p = 0; p < kProducts; ++p)
        for (index_t t = 0; t < count; t += gemm_.tile_rows)
          multiply(c, depth, p, first + t, static_cast<int>(std::min<index_t>(gemm_.tile_rows, count - t)), columns,
                   filters + p * depth * width, products + (p * count + t) * width);
    }
    for (index_t t = 0; t < count; ++t)
      write(panel, group_begin + first + t, columns, products + t * width, count * width);
  }

  void multiply(index_t channel, index_t depth, index_t product, index_t tile, int rows, int columns, const float* b,
                float* c) const {
    constexpr int kMaxRows = 16;
    const float* a[kMaxRows];
    for (int r = 0; r < rows; ++r) a[r] = input(channel, product, tile + r);
    // The next rows come from the third level, in runs too short for the processor's own prefetching.
    const char* next = reinterpret_cast<const char*>(a[0] + rows * depth);
    for (index_t i = 0; i < static_cast<index_t>(sizeof(float)) * depth * gemm_.tile_rows; i += 64)
      __builtin_prefetch(next + i);
    gemm_.tile(rows, depth, a, b, c, b_.width(), columns, channel > 0);
  }

  // The 2×2 pixels of one tile.
  void write(index_t panel, index_t tile, int columns, const float* products, index_t stride) const {
    const index_t x = tile % rows_.grid_width * 2, y = tile / rows_.grid_width % rows_.grid_height * 2;
    const index_t batch = tile / rows_.grid_width / rows_.grid_height, column = panel * b_.width();
    float* pixels[4];
    const float* residual[4];
    for (index_t i = 0; i < 4; ++i) {
      const index_t row = y + i / 2, line = x + i % 2;
      const index_t at = ((batch * height_ + row) * width_ + line) * b_.n() + column;
      const bool inside = row < height_ && line < width_;
      pixels[i] = inside ? out_ + at : nullptr;
      residual[i] = inside && epilogue_.residual ? epilogue_.residual + at : nullptr;
    }
    gemm_.winograd->output(columns, products, stride, epilogue_.bias ? epilogue_.bias + column : nullptr,
                           epilogue_.group_bias ? epilogue_.group_bias + batch * b_.n() + column : nullptr,
                           epilogue_.residual ? residual : nullptr, pixels);
  }

  const Context& context_;
  const GemmKernels& gemm_;
  const PackedMatrix& b_;
  bool flipped_;
  index_t pad_top_, pad_left_, channels_, height_, width_;
  float* out_;
  const Epilogue& epilogue_;
  TapRows rows_;
  index_t tiles_, group_;
  Tensor inputs_, filters_, products_;
};

}  // namespace

bool winograd_pays(index_t channels, index_t out_channels, index_t out_height, index_t out_width) {
  return channels >= 32 && out_channels >= 32 && out_height * out_width >= 64;
}

void winograd_convolve(const Context& context, const Map& map, const float* data, const float* zeros,
                       const PackedMatrix& b, bool flipped, index_t pad_top, index_t pad_left, index_t out_height,
                       index_t out_width, float* out, const Epilogue& epilogue) {
  Winograd winograd(context, map, data, zeros, b, flipped, pad_top, pad_left, out_height, out_width, out, epilogue);
  if (!context.planning()) winograd.run();
}

}  // namespace cones
