// dW [O, taps · I] = dyᵀ · gathered x: a product whose k counts pixels of y, those of all batch rows.
//
// It has few tiles and a long sum: k is cut into splits, whose partial sums wait in scratch memory until a second kernel adds
// them in order and writes them as PyTorch orders weights.
#include "conv2d.h"

#include "conv2d_loaders.cuh"
#include "conv2d_sum_tile.cuh"

namespace cones::cuda {
namespace {

struct WeightPlan {
  int splits;
};
/// From the sizes of one picture; a split has at least 512 pixels of it.
WeightPlan weight_plan(const Conv2dShape& s) {
  constexpr std::int64_t kEnoughTiles = 400, kFewestPixels = 512;
  const std::int64_t columns = s.kernel_h * s.kernel_w * s.in, pixels = conv2d_out_height(s) * conv2d_out_width(s);
  const std::int64_t tiles = divide_up(s.out, SmallTile::kM) * divide_up(columns, SmallTile::kN);
  std::int64_t splits = kEnoughTiles / tiles;
  if (splits > pixels / kFewestPixels) splits = pixels / kFewestPixels;
  return {static_cast<int>(splits < 1 ? 1 : splits)};
}

/// Where sums of (output o, column n = tap · I + i) go.
struct WeightSums {
  float* dw;
  float scale;
  float* partial;  // [splits, O, taps · I], or null: sums are whole
  int splits, outputs, inputs, taps;
  int steps;  // of kDepth pixels in one split

  DEVICE std::int64_t columns() const { return static_cast<std::int64_t>(taps) * inputs; }
  DEVICE void finish(std::int64_t o, int n, float sum) const {
    const int tap = n / inputs, i = n - tap * inputs;
    dw[(o * inputs + i) * taps + tap] = sum * scale;
  }
};

template <class Shape, bool kAligned, class A, class B>
KERNEL void LAUNCH_BOUNDS(Shape::kThreads, kAligned && Shape::kThreads <= 128 ? 3 : 2)
    weight_product(const GRID_CONSTANT A a, const GRID_CONSTANT B b, const GRID_CONSTANT WeightSums to) {
  const std::int64_t rows = (a.rows + Shape::kM - 1) / Shape::kM, columns = (b.rows + Shape::kN - 1) / Shape::kN;
  const int split = static_cast<int>(dev::block_x() / (rows * columns));
  const TileIndex tile = tile_index(dev::block_x() - split * rows * columns, rows, columns);
  const std::int64_t m0 = tile.row * Shape::kM, n0 = tile.column * Shape::kN;
  const int first = split * to.steps * Shape::kDepth;
  const int end = split + 1 == to.splits ? a.depth : first + to.steps * Shape::kDepth;
  Sums<Shape> sums;
  sums.zero();
  multiply<Shape, kAligned>(dev::shared(), a, b, m0, n0, first, end, sums);

  const SumTile<Shape> whole = sum_tile(dev::shared(), sums);
  for (int i = dev::thread(); i < Shape::kM * Shape::kN; i += Shape::kThreads) {
    const std::int64_t o = m0 + i / Shape::kN, n = n0 + i % Shape::kN;
    if (o >= a.rows || n >= b.rows) continue;
    const float sum = *whole.at(i / Shape::kN, i % Shape::kN);
    if (to.partial) {
      to.partial[(static_cast<std::int64_t>(split) * to.outputs + o) * to.columns() + n] = sum;
    } else {
      to.finish(o, static_cast<int>(n), sum);
    }
  }
}

constexpr int kFinishThreads = 256;
KERNEL void LAUNCH_BOUNDS(kFinishThreads) weight_finish(const GRID_CONSTANT WeightSums to) {
  const std::int64_t count = to.outputs * to.columns();
  const std::int64_t at = static_cast<std::int64_t>(dev::block_x()) * kFinishThreads + dev::thread();
  if (at >= count) return;
  float sum = 0;
  for (int s = 0; s < to.splits; ++s) sum += to.partial[s * count + at];
  to.finish(at / to.columns(), static_cast<int>(at % to.columns()), sum);
}

template <class Shape, bool kAligned, class A, class B>
int start(Stream* stream, const A& a, const B& b, WeightSums to) {
  const int steps = (a.depth + Shape::kDepth - 1) / Shape::kDepth;
  to.steps = (steps + to.splits - 1) / to.splits;
  to.splits = (steps + to.steps - 1) / to.steps;
  static_assert(SumTile<Shape>::kBytes <= product_shared<Shape, A, B>());
  const Grid grid{divide_up(a.rows, Shape::kM) * divide_up(b.rows, Shape::kN) * to.splits};
  const int status = launch(stream, weight_product<Shape, kAligned, A, B>, grid, Shape::kThreads, product_shared<Shape, A, B>(), a, b, to);
  if (status != 0 || to.partial == nullptr) return status;
  return launch(stream, weight_finish, Grid{divide_up(a.rows * b.rows, kFinishThreads)}, kFinishThreads, 0, to);
}

}  // namespace

std::int64_t conv2d_backward_weight_scratch(const Conv2dShape& s) {
  const int splits = weight_plan(s).splits;
  return splits > 1 ? splits * s.out * s.kernel_h * s.kernel_w * s.in : 0;
}

int conv2d_backward_weight(Stream* stream, const Conv2dBackwardWeightArgs& args) {
  const Conv2dShape& s = args.shape;
  const int splits = weight_plan(s).splits;
  if (!fits(s) || (splits > 1 && args.scratch == nullptr)) return kInvalid;
  return with_type(args.type, [&](auto t) {
    using T = decltype(t);
    const std::int64_t taps = s.kernel_h * s.kernel_w;
    const auto pixels = static_cast<int>(s.batch * conv2d_out_height(s) * conv2d_out_width(s));
    const ColumnMajor<T> a{static_cast<const T*>(args.dy), s.out, pixels, s.out};
    const Gather<T, true> b{forward_window(s), static_cast<const T*>(args.x), static_cast<int>(s.in), taps * s.in};
    const WeightSums to{args.dw, args.scale, splits > 1 ? args.scratch : nullptr, splits,
                        static_cast<int>(s.out), static_cast<int>(s.in), static_cast<int>(taps), 0};
    if (aligned(args.dy, s.out, s.out) && aligned(args.x, s.in, s.in)) {
      const std::int64_t large = divide_up(s.out, LargeTile::kM) * divide_up(b.rows, LargeTile::kN);
      return large >= 128 ? start<LargeTile, true>(stream, a, b, to) : start<SmallTile, true>(stream, a, b, to);
    }
    return start<SmallTile, false>(stream, a, b, to);
  });
}

}  // namespace cones::cuda
