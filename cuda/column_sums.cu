#include "launch.h"
#include "outer.h"

namespace cones::cuda {
namespace {

// A block sums 512 rows of 64 columns: each of its 8 warps every eighth row, a lane two columns. A second kernel adds what the blocks of
// a group found, in order. Both orders depend on rows_per_group alone.
constexpr int kWarps = 8, kThreads = 32 * kWarps, kColumns = 64;
constexpr std::int64_t kRows = 512;

std::int64_t pieces_of(std::int64_t rows_per_group) { return divide_up(rows_per_group, kRows); }

/// to [groups, pieces, N]: partial sums, or the result where there is one piece. block_x(): the piece, block_y(): the columns.
template <class T, class Y>
KERNEL void LAUNCH_BOUNDS(kThreads) sum_rows(ColumnSumsArgs a, std::int64_t pieces, float factor, Y* to) {
  float* const of_warp = reinterpret_cast<float*>(dev::shared());  // [kWarps, kColumns]
  const int lane = dev::thread() % 32, warp = dev::thread() / 32;
  const std::int64_t n = std::int64_t{dev::block_y()} * kColumns + lane * 2, piece = dev::block_x();
  const std::int64_t group = piece / pieces, first = piece % pieces * kRows;
  const std::int64_t end = first + kRows < a.rows_per_group ? first + kRows : a.rows_per_group;
  const T* const x = static_cast<const T*>(a.x) + group * a.rows_per_group * a.N + n;
  float low = 0, high = 0;
  for (std::int64_t r = first + warp; r < end; r += kWarps) {
    if (n < a.N) low += dev::to_float(x[r * a.N]);
    if (n + 1 < a.N) high += dev::to_float(x[r * a.N + 1]);
  }
  of_warp[warp * kColumns + lane * 2] = low;
  of_warp[warp * kColumns + lane * 2 + 1] = high;
  dev::sync();
  const std::int64_t column = std::int64_t{dev::block_y()} * kColumns + dev::thread();
  if (dev::thread() >= kColumns || column >= a.N) return;
  float sum = 0;
  for (int w = 0; w < kWarps; ++w) sum += of_warp[w * kColumns + dev::thread()];
  to[piece * a.N + column] = dev::from_float<Y>(dev::multiply(factor, sum));
}

/// sums [groups, N] = scale · Σ over the pieces.
template <class Y>
KERNEL void LAUNCH_BOUNDS(kThreads) sum_pieces(ColumnSumsArgs a, std::int64_t pieces) {
  const std::int64_t i = std::int64_t{dev::block_x()} * kThreads + dev::thread();
  if (i >= a.groups * a.N) return;
  const float* const from = a.scratch + i / a.N * pieces * a.N + i % a.N;
  float sum = 0;
  for (std::int64_t p = 0; p < pieces; ++p) sum += from[p * a.N];
  static_cast<Y*>(a.sums)[i] = dev::from_float<Y>(dev::multiply(a.scale, sum));
}

template <class T, class Y>
int start(Stream* stream, const ColumnSumsArgs& a) {
  const std::int64_t pieces = pieces_of(a.rows_per_group);
  const Grid grid{a.groups * pieces, divide_up(a.N, kColumns)};
  constexpr std::size_t kShared = kWarps * kColumns * sizeof(float);
  if (pieces == 1) return launch(stream, sum_rows<T, Y>, grid, kThreads, kShared, a, pieces, a.scale, static_cast<Y*>(a.sums));
  const int rc = launch(stream, sum_rows<T, float>, grid, kThreads, kShared, a, pieces, 1.0f, a.scratch);
  if (rc != 0) return rc;
  return launch(stream, sum_pieces<Y>, Grid{divide_up(a.groups * a.N, kThreads)}, kThreads, 0, a, pieces);
}

}  // namespace

std::int64_t column_sums_scratch(std::int64_t groups, std::int64_t rows_per_group, std::int64_t N) {
  const std::int64_t pieces = pieces_of(rows_per_group);
  return pieces == 1 ? 0 : groups * pieces * N * 4;
}

int column_sums(Stream* stream, const ColumnSumsArgs& a) {
  if (a.sums_type != a.type && a.sums_type != Type::f32) return kInvalid;
  return with_type(a.type, [&](auto zero) {
    using T = decltype(zero);
    return a.sums_type == Type::f32 ? start<T, float>(stream, a) : start<T, T>(stream, a);
  });
}

}  // namespace cones::cuda
