#include "cpu/gemm_outer.h"

#include <algorithm>

#include "base/error.h"
#include "cpu/kernels/kernels.h"

namespace cones {
namespace {

constexpr index_t divide_up(index_t a, index_t b) { return (a + b - 1) / b; }

// A block of the result, and what it is made of, stay in the second-level cache: per thread at most 192 × 256 floats of
// result and, for 256 rows at a time, the columns of p and q that meet there. Those are copied, because rows of the
// originals often lie a multiple of many cache lines apart and would evict each other; an odd number of lines does not.
constexpr index_t kBlockRows = 192, kBlockColumns = 256, kDepth = 256;
constexpr index_t kStrideP = kBlockRows + 16, kStrideQ = kBlockColumns + 16;
constexpr double kParallelWork = 1e6;  // multiply-adds worth waking another thread for

class Block {
 public:
  Block(const GemmKernels& kernels, float* scratch)
      : kernels_(kernels),
        p_(scratch),
        q_(p_ + kStrideP * kDepth),
        result_(q_ + kStrideQ * kDepth) {}

  static constexpr index_t kScratch = (kStrideP + kStrideQ) * kDepth + kBlockRows * kBlockColumns;

  // result [rows, columns] = p[:, row ...]ᵀ q[:, column ...]
  const float* run(const Tensor& p, const std::function<const float*(index_t)>& q_row, index_t row, index_t rows,
                   index_t column, index_t columns) {
    const index_t m = p.rows(), height = kernels_.tile_rows, width = kernels_.panel_width;
    for (index_t begin = 0; begin < m; begin += kDepth) {
      const index_t depth = std::min(kDepth, m - begin);
      for (index_t i = 0; i < depth; ++i) {
        std::copy_n(p.host() + (begin + i) * p.columns() + row, rows, p_ + i * kStrideP);
        std::copy_n(q_row(begin + i) + column, columns, q_ + i * kStrideQ);
      }
      for (index_t j = 0; j < columns; j += width)
        for (index_t i = 0; i < rows; i += height)
          kernels_.outer(static_cast<int>(std::min(height, rows - i)), static_cast<int>(std::min(width, columns - j)),
                         depth, p_ + i, kStrideP, q_ + j, kStrideQ, result_ + i * kBlockColumns + j, kBlockColumns,
                         begin > 0);
    }
    return result_;
  }

 private:
  const GemmKernels& kernels_;
  float *p_, *q_, *result_;
};

}  // namespace

void outer_blocks(const Context& context, const Tensor& p, index_t k, const std::function<const float*(index_t)>& row,
                  const TileConsumer& consume) {
  const index_t m = p.rows(), n = p.columns();
  const Tensor scratch = context.empty({cpu_of(context).threads(), Block::kScratch});
  const GemmKernels& kernels = *cpu_of(context).kernels().gemm;
  check(kBlockRows % kernels.tile_rows == 0 && kBlockColumns % kernels.panel_width == 0, "blocks hold whole tiles");

  const index_t tiles = divide_up(n, kernels.tile_rows), panels = divide_up(k, kernels.panel_width);
  index_t across = divide_up(n, kBlockRows), along = divide_up(k, kBlockColumns);
  const int threads = cpu_of(context).threads();
  if (threads > 1 && static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) >= kParallelWork)
    while (across * along < 4 * threads && (across < tiles || along < panels)) {
      if (along == panels || (across < tiles && tiles / across >= panels / along)) {
        ++across;
      } else {
        ++along;
      }
    }
  cpu_of(context).run(across * along, [&](index_t i, int lane) {
    const index_t a = i / along, b = i % along;
    const index_t first = tiles * a / across * kernels.tile_rows, column = panels * b / along * kernels.panel_width;
    const index_t rows = std::min(n, tiles * (a + 1) / across * kernels.tile_rows) - first;
    const index_t columns = std::min(k, panels * (b + 1) / along * kernels.panel_width) - column;
    Block block(kernels, scratch.host() + lane * Block::kScratch);
    consume(first, rows, column, columns, block.run(p, row, first, rows, column, columns), kBlockColumns, lane);
  });
}

void gemm_outer_tiles(const Context& context, const Tensor& p, const Tensor& q, const TileConsumer& consume) {
  check(p.rows() == q.rows(), "gemm_outer: p and q have the same number of rows");
  const index_t k = q.columns();
  const float* data = q.host();
  outer_blocks(context, p, k, [=](index_t m) { return data + m * k; }, consume);
}

}  // namespace cones
