#include "linear.h"

#include "matrix.cuh"

namespace cones::cuda {
namespace {

/// One tile of the product a block.
template <class Shape, bool kAligned, class A, class B, class F>
KERNEL void LAUNCH_BOUNDS(Shape::kThreads, Shape::kThreads > 128 ? 2 : 3)
    linear_product(const GRID_CONSTANT A a, const GRID_CONSTANT B b, const GRID_CONSTANT F output, int depth) {
  const TileIndex tile = tile_index(dev::block_x(), (a.rows + Shape::kM - 1) / Shape::kM, (b.rows + Shape::kN - 1) / Shape::kN);
  const std::int64_t m0 = tile.row * Shape::kM, n0 = tile.column * Shape::kN;
  Sums<Shape> sums;
  sums.zero();
  multiply<Shape, kAligned>(dev::shared(), a, b, m0, n0, 0, depth, sums);
  sums.each_pair([&](int m, int n, float low, float high) { output(m0 + m, n0 + n, low, high); });
}

template <class Shape, bool kAligned, class A, class B, class F>
int start(Stream* stream, const A& a, const B& b, const F& output) {
  const Grid grid{divide_up(a.rows, Shape::kM) * divide_up(b.rows, Shape::kN)};
  return launch(stream, linear_product<Shape, kAligned, A, B, F>, grid, Shape::kThreads, product_shared<Shape, A, B>(), a, b, output,
                a.depth);
}

/// The tile's shape changes no bit of a result (product.cuh), so it may depend on all sizes; where large tiles are too few to fill
/// a GPU, small ones are taken.
template <class A, class B, class F>
int start(Stream* stream, bool is_aligned, const A& a, const B& b, const F& output) {
  constexpr std::int64_t kEnough = 128;
  const std::int64_t large = divide_up(a.rows, 128) * divide_up(b.rows, 128);
  if (!is_aligned) return start<SmallTile, false>(stream, a, b, output);
  if (large < kEnough) return start<SmallTile, true>(stream, a, b, output);
  if (b.rows % 128 != 0 && b.rows % 80 == 0) return start<NarrowTile, true>(stream, a, b, output);
  return start<LargeTile, true>(stream, a, b, output);
}

}  // namespace

int linear_forward(Stream* stream, const LinearForwardArgs& args) {
  if (args.y_type != args.type && args.y_type != Type::f32) return kInvalid;
  return with_type(args.type, [&](auto zero) {
    using T = decltype(zero);
    const RowMajor<T> a{static_cast<const T*>(args.x), args.M, static_cast<int>(args.K), args.K};
    const RowMajor<T> b{static_cast<const T*>(args.weight), args.N, static_cast<int>(args.K), args.K};
    const Output<T> output{args.y, args.y_type == Type::f32, args.M, args.N, args.bias, nullptr, 1,
                           static_cast<const T*>(args.residual)};
    return start(stream, aligned(args.x, args.K, args.K) && aligned(args.weight, args.K, args.K), a, b, output);
  });
}

int linear_backward_input(Stream* stream, const LinearBackwardInputArgs& args) {
  return with_type(args.type, [&](auto zero) {
    using T = decltype(zero);
    const RowMajor<T> a{static_cast<const T*>(args.dy), args.M, static_cast<int>(args.N), args.N};
    const ColumnMajor<T> b{static_cast<const T*>(args.weight), args.K, static_cast<int>(args.N), args.K};
    const Output<T> output{args.dx, false, args.M, args.K, nullptr, nullptr, 1, static_cast<const T*>(args.onto)};
    return start(stream, aligned(args.dy, args.N, args.N) && aligned(args.weight, args.K, args.K), a, b, output);
  });
}

}  // namespace cones::cuda
