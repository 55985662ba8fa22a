#include "cpu/conv2d_winograd.h"

#include <algorithm>
#include <vector>

#include "cpu/kernels/kernels.h"

namespace cones {
namespace {

constexpr int kMaxTileRows = 16;  // of any instruction set

// What is different between F(2×2, 3×3) and F(4×4, 3×3).
struct Variant {
  index_t outputs, inputs, products;  // sides of a tile, and inputs²
  // Channels summed in one chain: short, because the transforms amplify rounding.
  index_t depth;
  index_t task_tiles;  // of one task, whose products [products, tiles, panel] stay in the second-level cache
  WinogradTransforms WinogradKernels::*transforms;
};
constexpr Variant kF2{2, 4, 16, 128, 192, &WinogradKernels::f2}, kF4{4, 6, 36, 64, 96, &WinogradKernels::f4};

// Tiles whose transformed inputs exist at a time: 4 MB, which stay in the third-level cache.
constexpr index_t kInputFloats = index_t{1} << 20;
// Panels of output channels that share each tile of inputs while it is in the first-level cache.
constexpr index_t kTaskPanels = 2;
// The products of one thing lie a cache line more apart than they are long: at distances of a power of two they would
// fight for the same few lines of the first-level cache.
constexpr index_t kPad = 16;
// Inputs of no more floats than this stay in the second-level cache and are not fetched ahead of use.
constexpr index_t kNearFloats = index_t{1} << 18;
constexpr int kFetchInterval = 16;  // GemmFetch::interval

constexpr index_t divide_up(index_t a, index_t b) { return (a + b - 1) / b; }

template <const Variant& V>
class Winograd {
 public:
  Winograd(const Context& context, const Map& map, const float* data, const float* zeros, const PackedMatrix& b,
           bool flipped, index_t pad_top, index_t pad_left, index_t out_height, index_t out_width, float* out,
           const Epilogue& epilogue)
      : context_(context),
        gemm_(*cpu_of(context).kernels().gemm),
        transforms_(cpu_of(context).kernels().winograd->*V.transforms),
        b_(b),
        flipped_(flipped),
        pad_top_(pad_top),
        pad_left_(pad_left),
        channels_(map.channels),
        height_(out_height),
        width_(out_width),
        out_(out),
        epilogue_(epilogue),
        rows_{map, data, zeros, divide_up(out_height, V.outputs), divide_up(out_width, V.outputs), V.outputs},
        tiles_(map.batch * rows_.grid_height * rows_.grid_width),
        group_(std::min(
            tiles_, std::max(V.task_tiles, kInputFloats / (V.products * channels_) / V.task_tiles * V.task_tiles))),
        fetches_(V.products * group_ * channels_ > kNearFloats),
        filter_floats_(V.depth * b.width() + kPad),
        product_floats_(std::min(group_, V.task_tiles) * b.width() + kPad),
        inputs_(context.empty({V.products, group_ * channels_ + divide_up(channels_, V.depth) * kPad})),
        filters_(context.empty({cpu_of(context).threads(), kTaskPanels, V.products, filter_floats_})),
        products_(context.empty({cpu_of(context).threads(), kTaskPanels, V.products, product_floats_})) {}

  void run() {
    for (index_t begin = 0; begin < tiles_; begin += group_) {
      const index_t count = std::min(group_, tiles_ - begin);
      cpu_of(context_).parallel(count, 8, [&](index_t first, index_t last, int) { transform_inputs(begin, first, last); });
      // Four tasks per thread: two panels of output channels each, and where panels are few a part of the tiles.
      const index_t pairs = divide_up(b_.panels(), kTaskPanels);
      const index_t wanted = cpu_of(context_).threads() == 1 ? 1 : 4 * cpu_of(context_).threads();
      const index_t steps = divide_up(count, gemm_.tile_rows);
      const index_t parts = std::min(steps, std::max(divide_up(count, V.task_tiles), divide_up(wanted, pairs)));
      cpu_of(context_).run(pairs * parts, [&](index_t i, int lane) {
        const index_t part = i / pairs, step = gemm_.tile_rows;
        convolve_panels(i % pairs * kTaskPanels, begin, steps * part / parts * step,
                        std::min(count, steps * (part + 1) / parts * step), lane);
      });
    }
  }

 private:
  // Inputs are kept by runs of channels, [C / depth][products][group][depth], so that a run's rows lie side by side.
  index_t input_stride(index_t channel) const { return group_ * std::min(V.depth, channels_ - channel) + kPad; }
  float* input(index_t channel, index_t product, index_t tile) const {
    return inputs_.host() + V.products * (channel * group_ + channel / V.depth * kPad) + product * input_stride(channel) +
           tile * std::min(V.depth, channels_ - channel);
  }

  void transform_inputs(index_t group_begin, index_t first, index_t last) const {
    const index_t count = last - first;
    std::vector<const float*> table(static_cast<std::size_t>(V.products * count));
    for (index_t p = 0; p < V.products; ++p)
      rows_.fill(group_begin + first, group_begin + last, p / V.inputs - pad_top_, p % V.inputs - pad_left_,
                 table.data() + p * count);
    for (index_t t = 0; t < count; ++t) {
      const float* pixels[V.products];
      for (index_t p = 0; p < V.products; ++p) pixels[p] = table[static_cast<std::size_t>(p * count + t)];
      for (index_t c = 0; c < channels_; c += V.depth) {
        const index_t depth = std::min(V.depth, channels_ - c);
        transforms_.input(depth, pixels, c, input(c, 0, first + t), input_stride(c));
      }
    }
  }

  // Output channels of panels [first_panel, first_panel + kTaskPanels) for tiles [first, last) of the group.
  void convolve_panels(index_t first_panel, index_t group_begin, index_t first, index_t last, int lane) const {
    const index_t width = b_.width(), count = last - first, tap_stride = channels_ * width;
    const index_t panels = std::min(kTaskPanels, b_.panels() - first_panel);
    float* const filters = filters_.host() + lane * kTaskPanels * V.products * filter_floats_;
    float* const products = products_.host() + lane * kTaskPanels * V.products * product_floats_;
    for (index_t c = 0; c < channels_; c += V.depth) {
      const index_t depth = std::min(V.depth, channels_ - c);
      for (index_t i = 0; i < panels; ++i) {
        const float* taps = b_.panel(first_panel + i) + c * width;
        transforms_.filter(depth * width, flipped_ ? taps + 8 * tap_stride : taps, flipped_ ? -tap_stride : tap_stride,
                           filters + i * V.products * filter_floats_, filter_floats_);
      }
      multiply(first_panel, panels, c, first, count, filters, products);
    }
    for (index_t i = 0; i < panels; ++i)
      for (index_t t = 0; t < count; ++t)
        write(first_panel + i, group_begin + first + t, products + i * V.products * product_floats_ + t * width);
  }

  // What one run of channels adds to the products [panels, products, count, width]. Meanwhile the next rows of inputs are
  // fetched, a part by each panel, and where they are to be added.
  void multiply(index_t first_panel, index_t panels, index_t channel, index_t first, index_t count, const float* filters,
                float* products) const {
    const index_t width = b_.width(), depth = std::min(V.depth, channels_ - channel), step = gemm_.tile_rows;
    const auto product = [&](index_t panel, index_t p, index_t t) {
      return products + (panel * V.products + p) * product_floats_ + t * width;
    };
    GemmFetch fetch{.interval = kFetchInterval, .row_step = static_cast<int>(divide_up(step * kFetchInterval, depth)),
                    .b_step = divide_up(step, panels)};
    for (index_t p = 0; p < V.products; ++p)
      for (index_t t = 0; t < count; t += step) {
        const int rows = static_cast<int>(std::min(step, count - t));
        const float* const inputs = input(channel, p, first + t);
        const float* a[kMaxTileRows];
        for (int r = 0; r < rows; ++r) a[r] = inputs + r * depth;
        const bool last_tile = t + step >= count;
        const index_t next_p = last_tile ? std::min(p + 1, V.products - 1) : p, next_t = last_tile ? 0 : t + step;
        for (index_t i = 0; i < panels; ++i) {
          const bool last_panel = i + 1 == panels;
          fetch.b = input(channel, next_p, first + next_t) + i * fetch.b_step * depth;
          fetch.c = last_panel ? product(0, next_p, next_t) : product(i + 1, p, t);
          fetch.rows = static_cast<int>(std::min(step, count - (last_panel ? next_t : t)));
          const GemmSegment segment{a, filters + (i * V.products + p) * filter_floats_};
          gemm_.run({.rows = rows,
                     .columns = columns(first_panel + i),
                     .segments = 1,
                     .depth = depth,
                     .offset = 0,
                     .segment = &segment,
                     .c = product(i, p, t),
                     .c_stride = width,
                     .accumulate = channel > 0,
                     .a_stride = depth,
                     .fetch = fetches_ ? &fetch : nullptr});
        }
      }
  }

  int columns(index_t panel) const { return static_cast<int>(std::min<index_t>(b_.width(), b_.n() - panel * b_.width())); }

  // The pixels of one tile.
  void write(index_t panel, index_t tile, const float* products) const {
    constexpr index_t side = V.outputs;
    const index_t x = tile % rows_.grid_width * side, y = tile / rows_.grid_width % rows_.grid_height * side;
    const index_t batch = tile / rows_.grid_width / rows_.grid_height, column = panel * b_.width();
    float* pixels[side * side];
    const float* residual[side * side];
    for (index_t i = 0; i < side * side; ++i) {
      const index_t row = y + i / side, line = x + i % side;
      const index_t at = ((batch * height_ + row) * width_ + line) * b_.n() + column;
      const bool inside = row < height_ && line < width_;
      pixels[i] = inside ? out_ + at : nullptr;
      residual[i] = inside && epilogue_.residual ? epilogue_.residual + at : nullptr;
    }
    transforms_.output(columns(panel), products, product_floats_, epilogue_.bias ? epilogue_.bias + column : nullptr,
                           epilogue_.group_bias ? epilogue_.group_bias + batch * b_.n() + column : nullptr,
                           epilogue_.residual ? residual : nullptr, pixels);
  }

  const Context& context_;
  const GemmKernels& gemm_;
  const WinogradTransforms& transforms_;
  const PackedMatrix& b_;
  bool flipped_;
  index_t pad_top_, pad_left_, channels_, height_, width_;
  float* out_;
  const Epilogue& epilogue_;
  TapRows rows_;
  index_t tiles_, group_;
  bool fetches_;
  index_t filter_floats_, product_floats_;
  Tensor inputs_, filters_, products_;
};

}  // namespace

int winograd_tile(index_t samples, index_t channels, index_t out_channels, index_t out_height, index_t out_width) {
  if (channels < 32 || out_channels < 32) return 0;
  // At least four tiles share the work on the filters, and not more than half of their outputs lie outside of the map.
  const index_t tiles = divide_up(out_height, kF4.outputs) * divide_up(out_width, kF4.outputs);
  if (channels >= 256 && samples * tiles >= 4 && 8 * tiles <= out_height * out_width) return 4;
  return out_height * out_width >= 64 ? 2 : 0;
}

void winograd_convolve(const Context& context, int tile, const Map& map, const float* data, const float* zeros,
                       const PackedMatrix& b, bool flipped, index_t pad_top, index_t pad_left, index_t out_height,
                       index_t out_width, float* out, const Epilogue& epilogue) {
  const auto convolve = [&]<const Variant& V>() {
    Winograd<V> winograd(context, map, data, zeros, b, flipped, pad_top, pad_left, out_height, out_width, out, epilogue);
    winograd.run();
  };
  tile == 4 ? convolve.template operator()<kF4>() : convolve.template operator()<kF2>();
}

}  // namespace cones
