// The product dyᵀ x of a weight's gradient, [N, K] summed over M tokens, for whatever becomes of it (outer.cu, search_update.cu).
//
// Few tiles of N × K do not fill a GPU, so the tokens are cut into splits, one block each. A block stores its sums; the last block
// of a tile to finish adds them up in the order of the splits, so that it does not matter which one is last.
#pragma once

#include "matrix.cuh"
#include "values.cuh"

namespace cones::cuda {

/// How an outer product is cut. All of it depends on the sizes alone.
template <class Shape>
struct OuterCut {
  std::int64_t tiles_n, tiles_k;
  int rows_of_split, splits;

  OuterCut(std::int64_t M, std::int64_t N, std::int64_t K)
      : tiles_n(divide_up(N, Shape::kM)), tiles_k(divide_up(K, Shape::kN)) {
    constexpr std::int64_t kBlocks = 256, kMost = 16, kLeastRows = 256;
    std::int64_t wanted = kBlocks / (tiles_n * tiles_k);
    if (wanted > M / kLeastRows) wanted = M / kLeastRows;
    wanted = wanted < 1 ? 1 : wanted > kMost ? kMost : wanted;
    rows_of_split = static_cast<int>(divide_up(divide_up(M, wanted), Shape::kDepth) * Shape::kDepth);
    splits = static_cast<int>(divide_up(M, rows_of_split));
  }
  std::int64_t scratch() const {  // bytes
    return splits == 1 ? 0 : tiles_n * tiles_k * splits * Shape::kM * Shape::kN * 4;
  }
};


struct OuterSplit {
  float* partial;  // [tiles, splits, a tile's sums in the order of Sums]
  int* arrived;    // [tiles], zeros
  int rows, splits;
};

/// Leaves the sums of all splits in the last block to come here, and tells the others that they are done. `flag`: shared memory.
template <class Shape>
DEVICE bool add_splits(const OuterSplit& split, std::int64_t tile, int* flag, Sums<Shape>& sums) {
  using S = Sums<Shape>;
  constexpr std::int64_t kTile = std::int64_t{S::kCount} * Shape::kThreads;
  float* const first = split.partial + tile * split.splits * kTile + dev::thread() * 4;
  const auto place = [](int i, int j) { return (i * S::kJ + j) * Shape::kThreads * 4; };
  UNROLL
  for (int i = 0; i < S::kI; ++i)
    UNROLL
    for (int j = 0; j < S::kJ; ++j) store_values(first + dev::block_y() * kTile + place(i, j), sums.c[i][j]);
  dev::fence();
  dev::sync();  // all of the block's sums can be seen, and shared memory is free
  if (dev::thread() == 0) *flag = dev::atomic_add(split.arrived + tile, 1);
  dev::sync();
  if (*flag != split.splits - 1) return false;
  dev::fence();
  if (dev::thread() == 0) split.arrived[tile] = 0;
  sums.zero();
  for (int p = 0; p < split.splits; ++p)
    UNROLL
    for (int i = 0; i < S::kI; ++i)
      UNROLL
      for (int j = 0; j < S::kJ; ++j) {
        float v[4];
        load_values(first + p * kTile + place(i, j), v);
        UNROLL
        for (int e = 0; e < 4; ++e) sums.c[i][j][e] += v[e];
      }
  return true;
}

/// One tile and one split a block. use(n, k, sums at (n, k) … (n, k + 7)) for all n and every eighth k of the tile, also past the
/// ends of the matrix. Does nothing where *finite is 0.
template <class Shape, bool kAligned, class T, class F>
KERNEL void LAUNCH_BOUNDS(Shape::kThreads, Shape::kThreads > 128 ? 2 : 3)
    outer_product(const GRID_CONSTANT ColumnMajor<T> dy, const GRID_CONSTANT ColumnMajor<T> x, const GRID_CONSTANT OuterSplit split,
                  const int* finite, const GRID_CONSTANT F use) {
  if (finite != nullptr && *finite == 0) return;
  const TileIndex tile = tile_index(dev::block_x(), (dy.rows + Shape::kM - 1) / Shape::kM, (x.rows + Shape::kN - 1) / Shape::kN);
  const int n0 = static_cast<int>(tile.row) * Shape::kM, k0 = static_cast<int>(tile.column) * Shape::kN;
  const int first = dev::block_y() * split.rows, end = dy.depth - first < split.rows ? dy.depth : first + split.rows;
  Sums<Shape> sums;
  sums.zero();
  multiply<Shape, kAligned>(dev::shared(), dy, x, n0, k0, first, end, sums);
  if (split.splits > 1 && !add_splits<Shape>(split, dev::block_x(), reinterpret_cast<int*>(dev::shared()), sums)) return;

  // Through shared memory, so that a warp comes to eight neighbours a thread and whole rows of the tile.
  constexpr int kPitch = Shape::kN + 4;
  float* const rows = reinterpret_cast<float*>(dev::shared());
  dev::sync();
  sums.each_pair([&](int m, int n, float low, float high) {
    rows[m * kPitch + n] = low;
    rows[m * kPitch + n + 1] = high;
  });
  dev::sync();
  for (int i = dev::thread(); i < Shape::kM * Shape::kN / 8; i += Shape::kThreads) {
    const int m = i / (Shape::kN / 8), n = i % (Shape::kN / 8) * 8;
    float v[8];
    load_values(rows + m * kPitch + n, v);
    use(n0 + m, k0 + n, v);
  }
}

/// Bytes of scratch for an outer product.
inline std::int64_t outer_product_scratch(std::int64_t M, std::int64_t N, std::int64_t K) {
  const std::int64_t large = OuterCut<LargeTile>(M, N, K).scratch(), small = OuterCut<SmallTile>(M, N, K).scratch();
  return large > small ? large : small;
}

template <class T>
struct OuterTask {
  std::int64_t M, N, K;
  const T *dy, *x;  // [M, N], [M, K]
  void* scratch;
  int* arrived;
  const int* finite;
};

template <class T, class F>
int start_outer_product(Stream* stream, const OuterTask<T>& task, const F& use) {
  const ColumnMajor<T> dy{task.dy, task.N, static_cast<int>(task.M), task.N}, x{task.x, task.K, static_cast<int>(task.M), task.K};
  const auto start = [&]<class Shape, int kAligned>(Shape, Width<kAligned>) {
    const OuterCut<Shape> cut(task.M, task.N, task.K);
    const OuterSplit split{static_cast<float*>(task.scratch), task.arrived, cut.rows_of_split, cut.splits};
    constexpr int kRing = product_shared<Shape, ColumnMajor<T>, ColumnMajor<T>>(), kRows = Shape::kM * (Shape::kN + 4) * 4;
    return launch(stream, outer_product<Shape, kAligned != 0, T, F>, Grid{cut.tiles_n * cut.tiles_k, cut.splits}, Shape::kThreads,
                  kRing > kRows ? kRing : kRows, dy, x, split, task.finite, use);
  };
  if (!aligned(task.dy, task.N, task.N) || !aligned(task.x, task.K, task.K)) return start(SmallTile(), Width<0>());
  const OuterCut<LargeTile> large(task.M, task.N, task.K);
  return large.tiles_n * large.tiles_k >= 64 ? start(LargeTile(), Width<1>()) : start(SmallTile(), Width<1>());
}

}  // namespace cones::cuda
