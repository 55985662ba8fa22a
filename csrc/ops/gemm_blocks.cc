#include "ops/gemm_blocks.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/kernels.h"

namespace cones {
namespace {

constexpr index_t divide_up(index_t a, index_t b) { return (a + b - 1) / b; }

// Part i of [0, count) cut into `parts` nearly equal pieces.
struct Range {
  index_t begin, end;
  Range(index_t count, index_t parts, index_t i) : begin(count * i / parts), end(count * (i + 1) / parts) {}
};

// Cache blocking: a chunk of one panel of B (320 × 32 floats) and a tile of A stay in the first-level cache while the
// tiles of a block of rows pass; that block of A (192 × 320) and its block of C stay in the second level. Each chunk is
// summed from zero, which is also what keeps long sums as accurate as PyTorch's.
constexpr index_t kMaxDepth = 320;
constexpr index_t kMaxBlockColumns = 256;
// Weights of more floats than this do not stay in the caches from one block of rows to the next.
constexpr index_t kFarWeights = 2 << 20;
// Below this many multiply-adds waking another thread costs more than it gives.
constexpr double kParallelWork = 1e6;

struct Blocks {
  index_t rows, columns;  // number of blocks each way

  Blocks(const Context& context, index_t m, index_t n, index_t k) {
    const index_t tiles = divide_up(m, context.kernels->gemm->tile_rows);
    const index_t panels = divide_up(n, context.kernels->gemm->panel_width);
    rows = divide_up(m, kMaxBlockRows);
    columns = divide_up(n, kMaxBlockColumns);
    const int threads = context.pool->threads();
    if (threads == 1 || static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) < kParallelWork)
      return;
    // Four tasks per thread, of whole tiles and panels. Columns first: their blocks share no weights, which are what
    // comes from far when rows are few.
    while (rows * columns < 4 * threads && (rows < tiles || columns < panels)) {
      if (panels / columns >= tiles / rows || rows == tiles) {
        ++columns;
      } else {
        ++rows;
      }
    }
  }
};

// A run of k that one kernel call takes: `segments` whole segments, or a part of one.
struct Chunk {
  index_t first_segment, segments, offset, depth;
};

std::vector<Chunk> cut(index_t segments, index_t depth) {
  std::vector<Chunk> chunks;
  const index_t parts = divide_up(depth, kMaxDepth), group = std::max<index_t>(1, kMaxDepth / depth);
  for (index_t s = 0; s < segments; s += group)
    for (index_t part = 0; part < parts; ++part) {
      const Range range(depth, parts, part);
      chunks.push_back({s, std::min(group, segments - s), range.begin, range.end - range.begin});
    }
  return chunks;
}

// What one task computes: rows [row, row_end) × panels [panel, panel_end).
class Task {
 public:
  Task(const Context& context, const PointedOperand& a, const PackedMatrix& b, float* out, index_t out_stride,
       const Epilogue& epilogue, const PackedMask* mask, Range rows, Range panels)
      : kernels_(*context.kernels->gemm),
        a_(a),
        b_(b),
        out_(out),
        out_stride_(out_stride),
        epilogue_(epilogue),
        mask_(mask),
        rows_(rows),
        panels_(panels),
        far_(a.m <= kMaxBlockRows || b.n() * b.k() > kFarWeights),
        table_(a.first_k.size() * static_cast<std::size_t>(rows.end - rows.begin)),
        bias_rows_(static_cast<std::size_t>(kernels_.tile_rows)),
        residual_rows_(bias_rows_.size()) {}

  void run(int lane, const std::vector<Chunk>& chunks) {
    a_.rows(rows_.begin, rows_.end, lane, table_.data());
    std::vector<GemmSegment> segments(a_.first_k.size());
    for (std::size_t c = 0; c < chunks.size(); ++c)
      for (index_t panel = panels_.begin; panel < panels_.end; ++panel) {
        const bool last_panel = panel + 1 == panels_.end, last_chunk = c + 1 == chunks.size();
        const float* next = nullptr;
        if (far_ && !last_panel) next = weights(chunks[c], panel + 1);
        if (far_ && last_panel && !last_chunk) next = weights(chunks[c + 1], panels_.begin);
        for (index_t row = rows_.begin; row < rows_.end; row += kernels_.tile_rows)
          run_tile(chunks[c], c == 0, last_chunk, panel, row, next, segments.data());
      }
  }

 private:
  const float* weights(const Chunk& chunk, index_t panel) const {
    return b_.panel(panel) + (a_.first_k[static_cast<std::size_t>(chunk.first_segment)] + chunk.offset) * b_.width();
  }

  // Meanwhile, `next` is fetched, each tile its part of it.
  void run_tile(const Chunk& chunk, bool first, bool last, index_t panel, index_t row, const float* next,
                GemmSegment* segments) {
    const index_t block_rows = rows_.end - rows_.begin, width = b_.width(), column = panel * width;
    index_t k = 0;
    for (index_t s = 0; s < chunk.segments; ++s) {
      const index_t segment = chunk.first_segment + s;
      k = a_.first_k[static_cast<std::size_t>(segment)] + chunk.offset;
      segments[s] = {table_.data() + segment * block_rows + (row - rows_.begin), b_.panel(panel) + k * width};
    }
    const index_t step = divide_up(width, divide_up(block_rows, kernels_.tile_rows));
    GemmTile tile{.rows = static_cast<int>(std::min<index_t>(kernels_.tile_rows, rows_.end - row)),
                  .columns = static_cast<int>(std::min(width, b_.n() - column)),
                  .segments = static_cast<int>(chunk.segments),
                  .depth = chunk.depth,
                  .offset = chunk.offset,
                  .segment = segments,
                  .c = out_ + row * out_stride_ + column,
                  .c_stride = out_stride_,
                  .accumulate = !first,
                  .ahead = next ? next + (row - rows_.begin) / kernels_.tile_rows * chunk.segments * chunk.depth * step
                                : nullptr,
                  .ahead_step = step};
    if (last) add_epilogue(tile, row, column);
    if (mask_ != nullptr) {
      kernels_.run_masked(tile, mask_->panel(panel) + k * (width / 8));
    } else {
      kernels_.run(tile);
    }
  }

  void add_epilogue(GemmTile& tile, index_t row, index_t column) {
    const float* bias = epilogue_.group_bias ? epilogue_.group_bias : epilogue_.bias;
    for (index_t r = 0; r < tile.rows; ++r) {
      const auto i = static_cast<std::size_t>(r);
      const index_t group = epilogue_.group_bias ? (row + r) / epilogue_.rows_per_group : 0;
      if (bias) bias_rows_[i] = bias + group * b_.n() + column;
      if (epilogue_.residual) residual_rows_[i] = epilogue_.residual + (row + r) * out_stride_ + column;
    }
    if (bias) tile.bias = bias_rows_.data();
    if (epilogue_.residual) tile.residual = residual_rows_.data();
  }

  const GemmKernels& kernels_;
  const PointedOperand& a_;
  const PackedMatrix& b_;
  float* out_;
  index_t out_stride_;
  const Epilogue& epilogue_;
  const PackedMask* mask_;
  Range rows_, panels_;
  // Few rows, of a small map: then weights come from far, each for a single block of rows; and so do large ones for every
  // block. While one panel of them is used, the next is fetched.
  bool far_;
  std::vector<const float*> table_;  // [segments][rows]
  std::vector<const float*> bias_rows_, residual_rows_;
};

// bias + group bias, so that the kernels add one row: [groups, N].
Tensor merge_bias(const Context& context, const Epilogue& epilogue, index_t m, index_t n) {
  const index_t groups = divide_up(m, epilogue.rows_per_group);
  Tensor merged = context.empty({groups, n});
  if (context.planning()) return merged;
  for (index_t g = 0; g < groups; ++g)
    for (index_t j = 0; j < n; ++j)
      merged.data()[g * n + j] = epilogue.bias[j] + epilogue.group_bias[g * n + j];
  return merged;
}

}  // namespace

void multiply_blocks(const Context& context, const PointedOperand& a, const PackedMatrix& b, float* out,
                     index_t out_stride, const Epilogue& epilogue, const PackedMask* mask) {
  check(b.width() == context.kernels->gemm->panel_width, "weights are packed for the kernels that read them");
  check(mask == nullptr || (mask->k() == b.k() && mask->n() == b.n() && mask->width() == b.width()),
        "a mask is shaped like the weight");
  check(mask == nullptr || a.first_k.size() == 1, "masks are for linear layers");

  Epilogue merged = epilogue;
  Tensor merged_bias;
  if (epilogue.bias && epilogue.group_bias) {
    merged_bias = merge_bias(context, epilogue, a.m, b.n());
    merged.group_bias = merged_bias.data();
  }
  if (context.planning()) return;
  const auto segments = static_cast<index_t>(a.first_k.size());
  const Blocks blocks(context, a.m, b.n(), segments * a.depth);
  const std::vector<Chunk> chunks = cut(segments, a.depth);
  const index_t tile_rows = context.kernels->gemm->tile_rows, tiles = divide_up(a.m, tile_rows);
  context.pool->run(blocks.rows * blocks.columns, [&](index_t i, int lane) {
    Range rows(tiles, blocks.rows, i / blocks.columns);
    rows.begin *= tile_rows;
    rows.end = std::min(rows.end * tile_rows, a.m);
    Task(context, a, b, out, out_stride, merged, mask, rows, Range(b.panels(), blocks.columns, i % blocks.columns))
        .run(lane, chunks);
  });
}

}  // namespace cones
