#include "kv_project.h"

#include "matrix.cuh"

namespace cones::cuda {
namespace {

constexpr int kRowsOfLaunch = 64;  // batch rows whose masks one launch takes along

/// A [rows, depth], read once, or twice in a row where a second matrix follows the first.
template <class T>
struct Activations {
  using Value = T;
  static constexpr bool kAcross = false, kMasked = false;
  const T* values;
  std::int64_t rows;
  int depth, all;  // all: depth or 2 · depth

  struct Row {
    const T* start;
  };
  struct Column {
    int k;  // < 0: past the end
  };
  DEVICE Row row(std::int64_t m) const { return {m < rows ? values + m * depth : nullptr}; }
  DEVICE Column column(int k) const { return {k < depth ? k : k < all ? k - depth : -1}; }
  DEVICE const T* at(const Row& r, Column c) const { return r.start != nullptr && c.k >= 0 ? r.start + c.k : nullptr; }
};

/// W [N, K] and after it `delta` under the same mask: as B(n, k), or with kTransposed as the B(k, n) of the input's gradient.
template <class T, bool kTransposed, bool kMasked_>
struct Weights {
  using Value = T;
  static constexpr bool kAcross = kTransposed, kMasked = kMasked_;
  const T *weight, *delta;
  const std::uint32_t* mask;
  int N, K;

  struct Row {
    int i;  // of N, or transposed of K; < 0: past the end
  };
  struct Column {
    const T* start;  // of what belongs to k in row 0; null: past the end
    int i;           // of K, or transposed of N
  };
  DEVICE Row row(std::int64_t n) const { return {n < (kTransposed ? K : N) ? static_cast<int>(n) : -1}; }
  DEVICE Column column(int k) const {
    const int depth = kTransposed ? N : K, i = k < depth ? k : k - depth;
    const T* const matrix = k < depth ? weight : delta;
    return {matrix != nullptr && i < depth ? matrix + i * std::int64_t{kTransposed ? K : 1} : nullptr, i};
  }
  DEVICE const T* at(Row r, const Column& c) const {
    return r.i >= 0 && c.start != nullptr ? c.start + r.i * std::int64_t{kTransposed ? 1 : K} : nullptr;
  }
  DEVICE std::uint32_t keep(Row r, const Column& c) const {
    if (mask == nullptr) return ~0u;
    const int n = kTransposed ? c.i : r.i, k = kTransposed ? r.i : c.i;
    return mask[n * static_cast<std::int64_t>((K + 31) / 32) + k / 32] >> (k % 32);
  }
};

struct Masks {
  const std::uint32_t* of_row[kRowsOfLaunch];
};

/// One tile of one batch row a block: block_y() is the batch row. x, y and the residual are batch row 0's.
template <class Shape, bool kAligned, class X, class W, class F>
KERNEL void LAUNCH_BOUNDS(Shape::kThreads, 3)
    kv_product(const GRID_CONSTANT X first_x, const GRID_CONSTANT W first_w, const GRID_CONSTANT F first_output,
               const GRID_CONSTANT Masks masks) {
  using T = typename X::Value;
  const std::int64_t b = dev::block_y();
  X x = first_x;
  W w = first_w;
  F output = first_output;
  x.values += b * x.rows * x.depth;
  w.mask = masks.of_row[b];
  output.y = static_cast<T*>(output.y) + b * output.rows * output.columns;
  if (output.residual != nullptr) output.residual += b * output.rows * output.columns;

  const TileIndex tile =
      tile_index(dev::block_x(), (output.rows + Shape::kM - 1) / Shape::kM, (output.columns + Shape::kN - 1) / Shape::kN);
  const std::int64_t m0 = tile.row * Shape::kM, n0 = tile.column * Shape::kN;
  Sums<Shape> sums;
  sums.zero();
  multiply<Shape, kAligned>(dev::shared(), x, w, m0, n0, 0, x.all, sums);
  sums.each_pair([&](int m, int n, float low, float high) { output(m0 + m, n0 + n, low, high); });
}

struct Task {
  Type type;
  std::int64_t B, T, N, K;  // as in the arguments; x [B, T, depth], y [B, T, columns]
  const void *x, *weight, *delta, *residual;
  const std::uint32_t* const* masks;
  void* y;
};

template <class T, bool kTransposed, class Shape, bool kAligned, bool kMasked>
int start(Stream* stream, const Task& task) {
  const auto depth = static_cast<int>(kTransposed ? task.N : task.K);
  const std::int64_t columns = kTransposed ? task.K : task.N;
  for (std::int64_t first = 0; first < task.B; first += kRowsOfLaunch) {
    const std::int64_t count = task.B - first < kRowsOfLaunch ? task.B - first : kRowsOfLaunch;
    Masks masks{};
    for (std::int64_t b = 0; b < count; ++b) masks.of_row[b] = task.masks ? task.masks[first + b] : nullptr;
    using X = Activations<T>;
    using W = Weights<T, kTransposed, kMasked>;
    const X x{static_cast<const T*>(task.x) + first * task.T * depth, task.T, depth, task.delta ? 2 * depth : depth};
    const W w{static_cast<const T*>(task.weight), static_cast<const T*>(task.delta), nullptr, static_cast<int>(task.N),
              static_cast<int>(task.K)};
    const std::int64_t at = first * task.T * columns;
    const T* const residual = task.residual ? static_cast<const T*>(task.residual) + at : nullptr;
    const Output<T> output{static_cast<T*>(task.y) + at, false, task.T, columns, nullptr, nullptr, 1, residual};
    const Grid grid{divide_up(task.T, Shape::kM) * divide_up(columns, Shape::kN), count};
    const int rc = launch(stream, kv_product<Shape, kAligned, X, W, Output<T>>, grid, Shape::kThreads,
                          product_shared<Shape, X, W>(), x, w, output, masks);
    if (rc != 0) return rc;
  }
  return 0;
}

/// The tile depends on the sizes of one batch row.
template <bool kTransposed>
int choose(Stream* stream, const Task& task) {
  bool masked = false;
  for (std::int64_t b = 0; b < task.B && task.masks; ++b) masked = masked || task.masks[b] != nullptr;
  return with_type(task.type, [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t depth = kTransposed ? task.N : task.K, columns = kTransposed ? task.K : task.N;
    if (!aligned(task.x, depth, depth) || !aligned(task.weight, task.K, task.K) || !aligned(task.delta, task.K, task.K))
      return start<T, kTransposed, SmallTile, false, true>(stream, task);
    if (divide_up(task.T, NarrowTile::kM) * divide_up(columns, NarrowTile::kN) < 64)
      return masked ? start<T, kTransposed, SmallTile, true, true>(stream, task)
                    : start<T, kTransposed, SmallTile, true, false>(stream, task);
    return masked ? start<T, kTransposed, NarrowTile, true, true>(stream, task)
                  : start<T, kTransposed, NarrowTile, true, false>(stream, task);
  });
}

}  // namespace

int kv_project_forward(Stream* stream, const KvProjectForwardArgs& a) {
  if (a.mask_of_token != nullptr || a.sparse != nullptr) return kInvalid;
  return choose<false>(stream, {a.type, a.B, a.T, a.N, a.K, a.x, a.weight, a.delta, nullptr, a.masks, a.y});
}

int kv_project_backward_input(Stream* stream, const KvProjectBackwardInputArgs& a) {
  if (a.mask_of_token != nullptr || a.sparse != nullptr) return kInvalid;
  return choose<true>(stream, {a.type, a.B, a.T, a.N, a.K, a.dy, a.weight, a.delta, a.onto, a.masks, a.dx});
}

}  // namespace cones::cuda
