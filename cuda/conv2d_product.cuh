// A convolution as one product: pixels of the grid × channels of the output, summed over taps and channels of the source.
//
// Pictures of a few pixels have too few tiles to fill a GPU, but long sums: k is cut into splits, whose partial sums wait in
// scratch memory for a second kernel that adds them in order. Tile and splits follow from the sizes of one picture.
#pragma once

#include "conv2d_output.cuh"
#include "conv2d_sum_tile.cuh"
#include "conv2d_window.cuh"
#include "product.cuh"

namespace cones::cuda {

/// Takes sums of pixel m of the grid, channels n ….
template <class T>
struct ConvSums {
  Window window;
  ConvOutput<T> out;
  float* partial;     // [splits, pixels of the grid, channels rounded up to eights], or null: sums are whole
  int splits, steps;  // steps of kDepth in one split

  DEVICE float* partial_at(int split, int m, int n) const {
    return partial + (static_cast<std::int64_t>(split) * window.pixels() + m) * ((out.channels + 7) / 8 * 8) + n;
  }
};
struct alignas(16) FourSums {
  float v[4];
};

template <class Shape, bool kAligned, class A, class B, class T>
KERNEL void LAUNCH_BOUNDS(Shape::kThreads, kAligned && Shape::kThreads <= 128 ? 3 : 2)
    conv_product(const GRID_CONSTANT A a, const GRID_CONSTANT B b, const GRID_CONSTANT ConvSums<T> to, int depth) {
  const std::int64_t rows = (a.rows + Shape::kM - 1) / Shape::kM, columns = (b.rows + Shape::kN - 1) / Shape::kN;
  const int split = static_cast<int>(dev::block_x() / (rows * columns));
  const TileIndex tile = tile_index(dev::block_x() - split * rows * columns, rows, columns);
  const std::int64_t m0 = tile.row * Shape::kM, n0 = tile.column * Shape::kN;
  const int first = split * to.steps * Shape::kDepth;
  const int end = split + 1 == to.splits ? depth : first + to.steps * Shape::kDepth;
  Sums<Shape> sums;
  sums.zero();
  multiply<Shape, kAligned>(dev::shared(), a, b, m0, n0, first, end, sums);

  const SumTile<Shape> whole = sum_tile(dev::shared(), sums);
  for (int i = dev::thread(); i < Shape::kM * (Shape::kN / 8); i += Shape::kThreads) {
    const int row = i / (Shape::kN / 8), column = i % (Shape::kN / 8) * 8;
    const int m = static_cast<int>(m0) + row, n = static_cast<int>(n0) + column;
    if (m >= a.rows || n >= b.rows) continue;
    const float* const from = whole.at(row, column);
    if (to.partial) {
      FourSums* const partial = reinterpret_cast<FourSums*>(to.partial_at(split, m, n));
      for (int half = 0; half < 2; ++half) partial[half] = reinterpret_cast<const FourSums*>(from)[half];
    } else {
      to.out.store_eight(from, to.window.out_pixel(m), to.window.place(m).batch, n);
    }
  }
}

constexpr int kFinishThreads = 256;
template <class T>
KERNEL void LAUNCH_BOUNDS(kFinishThreads) conv_finish(const GRID_CONSTANT ConvSums<T> to) {
  const int pairs = (to.out.channels + 1) / 2;
  const std::int64_t at = static_cast<std::int64_t>(dev::block_x()) * kFinishThreads + dev::thread();
  if (at >= static_cast<std::int64_t>(to.window.pixels()) * pairs) return;
  const int m = static_cast<int>(at / pairs), n = static_cast<int>(at % pairs) * 2;
  float low = 0, high = 0;
  for (int s = 0; s < to.splits; ++s) {
    const float* const from = to.partial_at(s, m, n);
    low += from[0], high += from[1];
  }
  to.out.store_pair(low, high, to.window.out_pixel(m), to.window.place(m).batch, n);
}

/// How one picture's product is cut.
struct ConvPlan {
  bool small;  // tiles
  int splits, steps;
};
inline ConvPlan conv_plan(std::int64_t pixels, std::int64_t channels, std::int64_t depth, bool is_aligned) {
  // A GPU holds two large tiles at once on each of some hundred processors, or three small ones; pictures mostly come in pairs.
  constexpr std::int64_t kEnoughLarge = 64, kEnoughSmall = 200, kFewestSteps = 8;
  const std::int64_t steps = divide_up(depth, SmallTile::kDepth);
  if (is_aligned && divide_up(pixels, LargeTile::kM) * divide_up(channels, LargeTile::kN) >= kEnoughLarge)
    return {false, 1, static_cast<int>(steps)};
  const std::int64_t tiles = divide_up(pixels, SmallTile::kM) * divide_up(channels, SmallTile::kN);
  std::int64_t splits = kEnoughSmall / tiles;
  if (splits > steps / kFewestSteps) splits = steps / kFewestSteps;
  if (splits <= 1) return {true, 1, static_cast<int>(steps)};
  const std::int64_t each = divide_up(steps, splits);
  return {true, static_cast<int>(divide_up(steps, each)), static_cast<int>(each)};
}
/// Floats of scratch memory.
inline std::int64_t conv_plan_scratch(const ConvPlan& plan, std::int64_t pixels, std::int64_t channels) {
  return plan.splits > 1 ? plan.splits * pixels * divide_up(channels, 8) * 8 : 0;
}

template <class Shape, bool kAligned, class A, class B, class T>
int start_product(Stream* stream, const A& a, const B& b, const ConvSums<T>& to, int depth) {
  static_assert(SumTile<Shape>::kBytes <= product_shared<Shape, A, B>());
  const Grid grid{divide_up(a.rows, Shape::kM) * divide_up(b.rows, Shape::kN) * to.splits};
  return launch(stream, conv_product<Shape, kAligned, A, B, T>, grid, Shape::kThreads, product_shared<Shape, A, B>(), a, b, to, depth);
}

/// a, b: loaders; `to` without its split; scratch: conv_plan_scratch() floats.
template <class A, class B, class T>
int convolve_product(Stream* stream, bool is_aligned, const A& a, const B& b, ConvSums<T> to, int depth, float* scratch) {
  const ConvPlan plan = conv_plan(a.rows / to.window.batch, b.rows, depth, is_aligned);
  to.splits = plan.splits;
  to.steps = plan.steps;
  to.partial = plan.splits > 1 ? scratch : nullptr;
  if (plan.splits > 1 && scratch == nullptr) return kInvalid;
  if (!is_aligned) {
    if (const int status = start_product<SmallTile, false>(stream, a, b, to, depth)) return status;
  } else if (plan.small) {
    if (const int status = start_product<SmallTile, true>(stream, a, b, to, depth)) return status;
  } else {
    if (b.rows % NarrowTile::kN == 0 && b.rows % LargeTile::kN != 0) return start_product<NarrowTile, true>(stream, a, b, to, depth);
    return start_product<LargeTile, true>(stream, a, b, to, depth);
  }
  if (plan.splits == 1) return 0;
  const Grid grid{divide_up(a.rows * ((b.rows + 1) / 2), kFinishThreads)};
  return launch(stream, conv_finish<T>, grid, kFinishThreads, 0, to);
}

}  // namespace cones::cuda
