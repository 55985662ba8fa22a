#include "cpu/gemm_blocks.h"

#include <algorithm>

#include "base/error.h"
#include "cpu/kernels/kernels.h"

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
// Products of more rows than the first, whose operands and output have no more floats than the second, find them in the
// caches. With fewer rows a weight is used in few blocks of them; in a model it comes from far for the first one.
constexpr index_t kFewRows = 4 * kMaxBlockRows, kNearFloats = 2 << 20;
// Below this many multiply-adds waking another thread costs more than it gives.
constexpr double kParallelWork = 1e6;

struct Blocks {
  index_t rows, columns;  // number of blocks each way

  Blocks(const Context& context, index_t m, index_t n, index_t k) {
    const index_t tiles = divide_up(m, cpu_of(context).kernels().gemm->tile_rows);
    const index_t panels = divide_up(n, cpu_of(context).kernels().gemm->panel_width);
    rows = divide_up(m, kMaxBlockRows);
    columns = divide_up(n, kMaxBlockColumns);
    const int threads = cpu_of(context).threads();
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
      : kernels_(*cpu_of(context).kernels().gemm),
        a_(a),
        b_(b),
        out_(out),
        out_stride_(out_stride),
        epilogue_(epilogue),
        mask_(mask),
        fetches_(a.m <= kFewRows || a.m * b.n() + b.n() * b.k() + a.m * a.depth > kNearFloats),
        rows_(rows),
        panels_(panels),
        table_(a.first_k.size() * static_cast<std::size_t>(rows.end - rows.begin)),
        segments_(a.first_k.size()),
        bias_rows_(static_cast<std::size_t>(kernels_.tile_rows)),
        residual_rows_(bias_rows_.size()) {}

  void run(int lane, const std::vector<Chunk>& chunks) {
    a_.rows(rows_.begin, rows_.end, lane, table_.data());
    for (std::size_t c = 0; c < chunks.size(); ++c)
      for (index_t panel = panels_.begin; panel < panels_.end; ++panel) {
        const bool last_panel = panel + 1 == panels_.end, last_chunk = c + 1 == chunks.size();
        // After the last weights most likely those of the block of columns to the right come next.
        const Chunk& next_chunk = last_panel ? chunks[last_chunk ? 0 : c + 1] : chunks[c];
        const index_t next_panel = last_panel && !last_chunk ? panels_.begin : panel + 1;
        GemmFetch fetch = fetch_weights(chunks[c], panel, next_chunk, next_panel);
        run_panel(chunks[c], c == 0, last_chunk, panel, next_panel, fetch);
      }
  }

 private:
  const float* weights(const Chunk& chunk, index_t panel) const {
    return b_.panel(panel) + (a_.first_k[static_cast<std::size_t>(chunk.first_segment)] + chunk.offset) * b_.width();
  }

  // Long intervals cost less; over a short chain only short ones spread the rows.
  static index_t fetch_interval(const Chunk& chunk) { return chunk.segments * chunk.depth < 192 ? 16 : 64; }
  static index_t fetched_k(const Chunk& chunk) {
    return chunk.segments * (chunk.depth - chunk.depth % fetch_interval(chunk));
  }

  // For the first tile of a chunk and panel: its part of the weights that come next.
  GemmFetch fetch_weights(const Chunk& chunk, index_t panel, const Chunk& next_chunk, index_t next_panel) const {
    GemmFetch fetch;
    const index_t interval = fetch_interval(chunk), fetched = fetched_k(chunk);
    if (!fetches_ || fetched == 0) return fetch;
    fetch.interval = static_cast<int>(interval);
    fetch.row_step = static_cast<int>(divide_up(kernels_.tile_rows * interval, fetched));
    const index_t tiles = divide_up(rows_.end - rows_.begin, kernels_.tile_rows);
    const bool none = next_panel >= b_.panels();
    fetch.b = none ? weights(chunk, panel) : weights(next_chunk, next_panel);
    fetch.b_step = none ? 0 : divide_up(chunk.segments * chunk.depth * b_.width(), tiles * fetched);
    return fetch;
  }

  // The tile that comes next.
  void fetch_rows(GemmFetch& fetch, index_t row, index_t panel, bool residual) const {
    const index_t first = row * out_stride_ + panel * b_.width();
    fetch.rows = panel < panels_.end ? static_cast<int>(std::min<index_t>(kernels_.tile_rows, rows_.end - row)) : 0;
    fetch.c = out_ + first;
    fetch.residual = residual && epilogue_.residual ? epilogue_.residual + first : nullptr;
  }

  // All rows, tile by tile.
  void run_panel(const Chunk& chunk, bool first, bool last, index_t panel, index_t next_panel, GemmFetch& fetch) {
    const index_t block_rows = rows_.end - rows_.begin, tile_rows = kernels_.tile_rows, column = panel * b_.width();
    index_t k = 0;
    for (index_t s = 0; s < chunk.segments; ++s) {
      const index_t segment = chunk.first_segment + s;
      k = a_.first_k[static_cast<std::size_t>(segment)] + chunk.offset;
      segments_[static_cast<std::size_t>(s)] = {table_.data() + segment * block_rows, b_.panel(panel) + k * b_.width()};
    }
    const std::uint8_t* mask = mask_ ? mask_->panel(panel) + k * (b_.width() / 8) : nullptr;
    const index_t fetched = fetched_k(chunk) * fetch.b_step;
    GemmTile tile{.rows = static_cast<int>(tile_rows),
                  .columns = static_cast<int>(std::min<index_t>(b_.width(), b_.n() - column)),
                  .segments = static_cast<int>(chunk.segments),
                  .depth = chunk.depth,
                  .offset = chunk.offset,
                  .segment = segments_.data(),
                  .c = out_ + rows_.begin * out_stride_ + column,
                  .c_stride = out_stride_,
                  .accumulate = !first,
                  .a_stride = a_.stride,
                  .fetch = fetch.b ? &fetch : nullptr};
    for (index_t row = rows_.begin; row < rows_.end; row += tile_rows) {
      tile.rows = static_cast<int>(std::min(tile_rows, rows_.end - row));
      if (last) add_epilogue(tile, row, column);
      if (tile.fetch) {
        const bool last_row = row + tile_rows >= rows_.end;
        fetch_rows(fetch, last_row ? rows_.begin : row + tile_rows, last_row ? next_panel : panel, last);
      }
      if (mask) {
        kernels_.run_masked(tile, mask);
      } else {
        kernels_.run(tile);
      }
      tile.c += tile_rows * out_stride_;
      if (tile.fetch) fetch.b += fetched;
      for (index_t s = 0; s < chunk.segments; ++s) segments_[static_cast<std::size_t>(s)].a += tile_rows;
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
  // Whether what comes next is fetched.
  bool fetches_;
  Range rows_, panels_;
  std::vector<const float*> table_;  // [segments][rows]
  std::vector<GemmSegment> segments_;
  std::vector<const float*> bias_rows_, residual_rows_;
};

// bias + group bias, so that the kernels add one row: [groups, N]. Not of the context's memory: a plan, whose pointers are null,
// would not count it.
std::vector<float> merge_bias(const Epilogue& epilogue, index_t m, index_t n) {
  const index_t groups = divide_up(m, epilogue.rows_per_group);
  std::vector<float> merged(static_cast<std::size_t>(groups * n));
  for (index_t g = 0; g < groups; ++g)
    for (index_t j = 0; j < n; ++j)
      merged[static_cast<std::size_t>(g * n + j)] = epilogue.bias[j] + epilogue.group_bias[g * n + j];
  return merged;
}

}  // namespace

void multiply_blocks(const Context& context, const PointedOperand& a, const PackedMatrix& b, float* out,
                     index_t out_stride, const Epilogue& epilogue, const PackedMask* mask) {
  check(b.width() == cpu_of(context).kernels().gemm->panel_width, "weights are packed for the kernels that read them");
  check(mask == nullptr || (mask->k() == b.k() && mask->n() == b.n() && mask->width() == b.width()),
        "a mask is shaped like the weight");
  check(mask == nullptr || a.first_k.size() == 1, "masks are for linear layers");

  Epilogue merged = epilogue;
  std::vector<float> merged_bias;
  if (epilogue.bias && epilogue.group_bias) {
    merged_bias = merge_bias(epilogue, a.m, b.n());
    merged.group_bias = merged_bias.data();
  }
  const auto segments = static_cast<index_t>(a.first_k.size());
  const Blocks blocks(context, a.m, b.n(), segments * a.depth);
  const std::vector<Chunk> chunks = cut(segments, a.depth);
  const index_t tile_rows = cpu_of(context).kernels().gemm->tile_rows, tiles = divide_up(a.m, tile_rows);
  cpu_of(context).run(blocks.rows * blocks.columns, [&](index_t i, int lane) {
    Range rows(tiles, blocks.rows, i / blocks.columns);
    rows.begin *= tile_rows;
    rows.end = std::min(rows.end * tile_rows, a.m);
    Task(context, a, b, out, out_stride, merged, mask, rows, Range(b.panels(), blocks.columns, i % blocks.columns))
        .run(lane, chunks);
  });
}

}  // namespace cones
