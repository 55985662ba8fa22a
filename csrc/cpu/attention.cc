#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/error.h"
#include "cpu/backend.h"
#include "cpu/kernels/kernels.h"

// Everything is computed transposed: a panel holds `width` queries in its columns, so Sᵀ = K Qᵀ comes out of the
// matrix kernel in just the layout in which Oᵀ = Vᵀ Pᵀ reads it, rows of K are used where they lie, the softmax runs
// down the columns without sums across lanes, and no head dimension is padded to whole vectors.

namespace cones {
namespace {

constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147181f;
constexpr index_t kKeyBlock = 192;  // divides by every kernel's rows; a panel of scores then fits in the first cache
constexpr int kMostTileRows = 32;
constexpr index_t kMostSegments = 4;
constexpr index_t kBackwardPanels = kMostSegments;  // panels of queries whose sums over queries are one chain

/// Sizes, and how a tensor [B, T, C] is addressed by head.
struct Sizes {
  index_t batch, queries, keys, channels, heads, dim;
  bool causal;
  const GemmKernels& gemm;
  const VectorKernels& vector;
  index_t width, panels;

  Sizes(const Context& context, const Tensor& q, const Tensor& k, const AttentionOptions& options)
      : batch(q.dim(0)), queries(q.dim(1)), keys(k.dim(1)), channels(q.dim(2)), heads(options.heads),
        dim(channels / std::max<index_t>(heads, 1)), causal(options.causal), gemm(*cpu_of(context).kernels().gemm), vector(*cpu_of(context).kernels().vector),
        width(gemm.panel_width), panels((queries + width - 1) / width) {
    check(gemm.tile_rows <= kMostTileRows, "attention: tile rows");
  }

  index_t queries_in(index_t panel) const { return std::min(width, queries - panel * width); }
  /// Columns that are computed: whole vectors, the ones beyond the queries being zero.
  int columns_in(index_t panel) const {
    return static_cast<int>(std::min(width, (queries_in(panel) + 15) / 16 * 16));
  }
  /// Keys of the block that some query of the panel sees.
  index_t visible_keys(index_t panel, index_t first_key) const {
    const index_t end = causal ? std::min(keys, panel * width + queries_in(panel)) : keys;
    return std::clamp<index_t>(end - first_key, 0, kKeyBlock);
  }
  /// Offset of token `t`, head `h` of sample `b` in a tensor of `tokens` tokens per sample.
  index_t offset(index_t tokens, index_t b, index_t t, index_t h) const {
    return (b * tokens + t) * channels + h * dim;
  }
};

/// Operands of a product that is summed over `count` segments: A [rows, depth] and a packed panel B [depth, width] of each,
/// so many floats after the last one's.
struct Segments {
  index_t count = 1, a_step = 0, b_step = 0;
};

/// C [rows, columns] = (accumulate ? C : 0) + Σ over segments of A · B.
void multiply(const Sizes& sizes, index_t rows, index_t depth, const float* a, index_t a_stride, const float* b,
              float* c, index_t c_stride, int columns, bool accumulate, const Segments& segments = {}) {
  const float* pointers[kMostSegments][kMostTileRows];
  GemmSegment segment[kMostSegments];
  for (index_t i = 0; i < segments.count; ++i) segment[i] = {pointers[i], b + i * segments.b_step};
  for (index_t row = 0; row < rows;) {
    const int count = static_cast<int>(std::min<index_t>(sizes.gemm.tile_rows, rows - row));
    for (index_t i = 0; i < segments.count; ++i)
      for (int r = 0; r < count; ++r) pointers[i][r] = a + i * segments.a_step + (row + r) * a_stride;
    sizes.gemm.run({.rows = count, .columns = columns, .segments = static_cast<int>(segments.count), .depth = depth,
                    .offset = 0, .segment = segment, .c = c + row * c_stride, .c_stride = c_stride,
                    .accumulate = accumulate});
    row += count;
  }
}

/// panel [dim, width] = factor · (rows of one panel of tokens)ᵀ, columns beyond the tokens zero.
void pack_transposed(const Sizes& sizes, const float* tokens, index_t panel, float factor, float* packed) {
  const index_t count = sizes.queries_in(panel);
  if (count < sizes.width)
    std::memset(packed, 0, static_cast<std::size_t>(sizes.dim * sizes.width) * sizeof(float));
  sizes.vector.transpose(count, sizes.dim, tokens + panel * sizes.width * sizes.channels, sizes.channels, factor,
                         packed, sizes.width);
}

/// Hides the keys after each query: s [keys, width] = −∞ where first_key + row > query.
void mask_future(const Sizes& sizes, index_t panel, index_t first_key, index_t keys, float* s) {
  for (index_t row = 0; row < keys; ++row) {
    const index_t hidden = std::clamp<index_t>(first_key + row - panel * sizes.width, 0, sizes.width);
    std::fill_n(s + row * sizes.width, hidden, -std::numeric_limits<float>::infinity());
  }
}

/// Scratch memory of one thread, handed out piece by piece, each a multiple of a cache line.
class Scratch {
 public:
  static index_t round(index_t floats) { return (floats + 15) / 16 * 16; }
  explicit Scratch(float* next) : next_(next) {}
  float* take(index_t floats) { return std::exchange(next_, next_ + round(floats)); }

 private:
  float* next_;
};

/// Ranges of tasks worth a thread: each task is `products` multiply-adds.
index_t task_grain(index_t products) {
  constexpr index_t kGrain = 1 << 19;
  return std::max<index_t>(1, kGrain / std::max<index_t>(products, 1));
}

}  // namespace

Tensor Cpu::attention_forward(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                         const AttentionOptions& options, Tensor* logsumexp) const {
  const Sizes sizes(context, q, k, options);
  const index_t dim = sizes.dim, width = sizes.width, batch_heads = sizes.batch * sizes.heads;
  const int lanes = threads();
  // Panels of one head that share each block of Vᵀ; as many as leave every thread some tasks.
  const index_t group = std::clamp<index_t>(sizes.panels * batch_heads / (4 * lanes), 1, 8);
  const index_t groups = (sizes.panels + group - 1) / group;

  Tensor out = context.empty(q.shape());
  if (logsumexp != nullptr) *logsumexp = context.empty({sizes.batch, sizes.heads, sizes.queries});
  const index_t per_panel = 2 * Scratch::round(dim * width) + 2 * Scratch::round(width);
  Tensor scratch = context.empty({lanes, group * per_panel + Scratch::round(width) + Scratch::round(dim * width) +
                                               Scratch::round(kKeyBlock * width) + Scratch::round(dim * kKeyBlock)});

  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  const auto run_task = [&](index_t task, int lane) {
    // Heads innermost: neighbouring tasks read and write the same rows of q and out.
    const index_t h = task % sizes.heads, b = task / sizes.heads / groups;
    const index_t first = task / sizes.heads % groups * group, count = std::min(group, sizes.panels - first);
    const float* own_q = q.host() + sizes.offset(sizes.queries, b, 0, h);
    float* own_out = out.host() + sizes.offset(sizes.queries, b, 0, h);

    Scratch pieces(scratch.host() + lane * scratch.columns());
    float* correction = pieces.take(width);
    float* s = pieces.take(kKeyBlock * width);             // scores, then probabilities [keys, width]
    float* vt = pieces.take(dim * kKeyBlock);              // Vᵀ [dim, keys]
    float* block_output = pieces.take(dim * width);        // Oᵀ of one block of keys [dim, width]
    float* queries = pieces.take(group * dim * width);     // Qᵀ of each panel [dim, width], in units of log2
    float* outputs = pieces.take(group * dim * width);     // Oᵀ of each panel [dim, width], not yet divided
    float* maximum = pieces.take(group * width);
    float* sum = pieces.take(group * width);

    for (index_t i = 0; i < count; ++i)
      pack_transposed(sizes, own_q, first + i, scale * kLog2e, queries + i * dim * width);
    std::fill_n(maximum, count * width, -std::numeric_limits<float>::infinity());
    std::fill_n(sum, count * width, 0.0f);

    for (index_t key = 0; key < sizes.keys; key += kKeyBlock) {
      const index_t most = sizes.visible_keys(first + count - 1, key);
      if (most == 0) break;
      const index_t kv = sizes.offset(sizes.keys, b, key, h);
      sizes.vector.transpose(most, dim, v.host() + kv, sizes.channels, 1.0f, vt, kKeyBlock);
      for (index_t i = 0; i < count; ++i) {
        const index_t keys = sizes.visible_keys(first + i, key);
        if (keys == 0) continue;
        const int columns = sizes.columns_in(first + i);
        float* o = outputs + i * dim * width;
        multiply(sizes, keys, dim, k.host() + kv, sizes.channels, queries + i * dim * width, s, width, columns, false);
        if (sizes.causal) mask_future(sizes, first + i, key, keys, s);
        sizes.vector.softmax_panel(keys, columns, static_cast<int>(width), s, maximum + i * width, sum + i * width,
                                   correction);
        // Each block is summed for itself, then added: shorter chains of roundings than one through all keys.
        multiply(sizes, dim, keys, vt, kKeyBlock, s, key == 0 ? o : block_output, width, columns, false);
        if (key > 0)
          sizes.vector.scale_add_panel(dim, columns, static_cast<int>(width), o, correction, block_output);
      }
    }

    for (index_t i = 0; i < count; ++i) {
      const index_t panel = first + i, tokens = sizes.queries_in(panel);
      float* o = outputs + i * dim * width;
      for (index_t j = 0; j < width; ++j) correction[j] = 1.0f / sum[i * width + j];
      sizes.vector.scale_panel(dim, sizes.columns_in(panel), static_cast<int>(width), o, correction);
      sizes.vector.transpose(dim, tokens, o, width, 1.0f, own_out + panel * width * sizes.channels, sizes.channels);
      if (logsumexp != nullptr) {
        float* target = logsumexp->host() + (b * sizes.heads + h) * sizes.queries + panel * width;
        for (index_t j = 0; j < tokens; ++j)
          target[j] = kLn2 * (maximum[i * width + j] + std::log2(sum[i * width + j]));
      }
    }
  };
  parallel(batch_heads * groups, task_grain(2 * group * width * sizes.keys * dim),
                   [&](index_t begin, index_t end, int lane) {
                     for (index_t task = begin; task < end; ++task) run_task(task, lane);
                   });
  return out;
}

void Cpu::attention_backward(const Context& context, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const Tensor& out, const Tensor& logsumexp, const AttentionOptions& options, Tensor* dq,
                        Tensor* dk, Tensor* dv) const {
  const Sizes sizes(context, q, k, options);
  const index_t dim = sizes.dim, width = sizes.width, channels = sizes.channels;
  const index_t dim_panels = (dim + width - 1) / width;
  const int panel_stride = static_cast<int>(width);
  const index_t kt_stride = Scratch::round(sizes.keys) + 16;  // off powers of two, where rows would fight for cache lines

  if (dq != nullptr) *dq = context.empty(q.shape());
  if (dk != nullptr) *dk = context.zeros(k.shape());
  if (dv != nullptr) *dv = context.zeros(v.shape());
  const index_t columns_floats = Scratch::round(dim * width), rows_floats = dim_panels * width * width;
  const index_t score_floats = kKeyBlock * width;
  Tensor scratch = context.empty({threads(),
                                  dim * kt_stride + kBackwardPanels * (3 * columns_floats + 2 * rows_floats +
                                                                       2 * score_floats + 2 * width)});

  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  // rows [dim_panels][tokens][width]: tokens of one panel as the right-hand side of a product over tokens.
  const auto pack_rows = [&](const float* tokens, index_t panel, float factor, float* packed) {
    const index_t count = sizes.queries_in(panel);
    for (index_t p = 0; p < dim_panels; ++p)
      for (index_t i = 0; i < count; ++i) {
        const float* source = tokens + (panel * width + i) * channels + p * width;
        float* target = packed + (p * width + i) * width;
        const index_t used = std::min(width, dim - p * width);
        for (index_t j = 0; j < used; ++j) target[j] = factor * source[j];
        std::fill(target + used, target + width, 0.0f);
      }
  };
  // sums [keys, dim] += Σ over `count` panels of weights [keys, tokens] · (packed rows)
  const auto multiply_rows = [&](index_t keys, index_t count, index_t tokens, const float* weights, const float* packed,
                                 float* sums) {
    for (index_t p = 0; p < dim_panels; ++p)
      multiply(sizes, keys, tokens, weights, width, packed + p * width * width, sums + p * width, channels,
               static_cast<int>(std::min(width, dim - p * width)), true, {count, score_floats, rows_floats});
  };

  const auto run_task = [&](index_t task, int lane) {  // one head of one sample
    const index_t h = task % sizes.heads, b = task / sizes.heads;
    const index_t of_q = sizes.offset(sizes.queries, b, 0, h), of_k = sizes.offset(sizes.keys, b, 0, h);
    Scratch pieces(scratch.host() + lane * scratch.columns());
    float* kt = pieces.take(dim * kt_stride);  // Kᵀ [dim, keys]
    // For each panel of a group:
    float* qt = pieces.take(kBackwardPanels * columns_floats);   // Qᵀ [dim, width], in units of log2
    float* dot = pieces.take(kBackwardPanels * columns_floats);  // dOᵀ [dim, width]
    float* dqt = pieces.take(kBackwardPanels * columns_floats);  // Oᵀ, then dQᵀ [dim, width]
    float* q_rows = pieces.take(kBackwardPanels * rows_floats);
    float* do_rows = pieces.take(kBackwardPanels * rows_floats);
    float* p = pieces.take(kBackwardPanels * score_floats);   // probabilities [keys, width]
    float* ds = pieces.take(kBackwardPanels * score_floats);  // gradient of the scores [keys, width]
    float* logsumexp2 = pieces.take(kBackwardPanels * width);
    float* delta = pieces.take(kBackwardPanels * width);  // Σ_c dO · O of each query

    const auto prepare = [&](index_t panel, index_t i) {
      float* const own_dot = dot + i * columns_floats;
      float* const own_out = dqt + i * columns_floats;
      pack_transposed(sizes, q.host() + of_q, panel, scale * kLog2e, qt + i * columns_floats);
      pack_transposed(sizes, dy.host() + of_q, panel, 1.0f, own_dot);
      pack_transposed(sizes, out.host() + of_q, panel, 1.0f, own_out);
      float* const own_delta = delta + i * width;
      std::fill_n(own_delta, width, 0.0f);
      for (index_t c = 0; c < dim; ++c)
        for (index_t j = 0; j < width; ++j) own_delta[j] += own_dot[c * width + j] * own_out[c * width + j];
      std::fill_n(logsumexp2 + i * width, width, 0.0f);
      const float* own = logsumexp.host() + (b * sizes.heads + h) * sizes.queries + panel * width;
      for (index_t j = 0; j < sizes.queries_in(panel); ++j) logsumexp2[i * width + j] = own[j] * kLog2e;
      if (dk != nullptr) pack_rows(q.host() + of_q, panel, scale, q_rows + i * rows_floats);
      if (dv != nullptr) pack_rows(dy.host() + of_q, panel, 1.0f, do_rows + i * rows_floats);
    };

    if (dq != nullptr)
      sizes.vector.transpose(sizes.keys, dim, k.host() + of_k, channels, 1.0f, kt, kt_stride);
    const index_t whole_panels = sizes.queries / width;
    for (index_t panel = 0, count; panel < sizes.panels; panel += count) {
      // Panels go together that have as many queries and see the same keys.
      count = sizes.causal ? 1 : std::clamp<index_t>(whole_panels - panel, 1, kBackwardPanels);
      const index_t tokens = sizes.queries_in(panel);
      const int columns = sizes.columns_in(panel);
      for (index_t i = 0; i < count; ++i) prepare(panel + i, i);

      for (index_t key = 0; key < sizes.keys; key += kKeyBlock) {
        const index_t keys = sizes.visible_keys(panel, key);
        if (keys == 0) break;
        const index_t at = of_k + key * channels;
        for (index_t i = 0; i < count; ++i) {
          float* const own_p = p + i * score_floats;
          float* const own_ds = ds + i * score_floats;
          multiply(sizes, keys, dim, k.host() + at, channels, qt + i * columns_floats, own_p, width, columns, false);
          if (sizes.causal) mask_future(sizes, panel, key, keys, own_p);
          multiply(sizes, keys, dim, v.host() + at, channels, dot + i * columns_floats, own_ds, width, columns, false);
          sizes.vector.softmax_panel_backward(keys, columns, panel_stride, own_p, own_ds, logsumexp2 + i * width,
                                              delta + i * width);
          if (dq != nullptr)
            multiply(sizes, dim, keys, kt + key, kt_stride, own_ds, dqt + i * columns_floats, width, columns, key > 0);
        }
        if (dv != nullptr) multiply_rows(keys, count, tokens, p, do_rows, dv->host() + at);
        if (dk != nullptr) multiply_rows(keys, count, tokens, ds, q_rows, dk->host() + at);
      }
      if (dq != nullptr)
        for (index_t i = 0; i < count; ++i)
          sizes.vector.transpose(dim, tokens, dqt + i * columns_floats, width, scale,
                                 dq->host() + of_q + (panel + i) * width * channels, channels);
    }
  };
  parallel(sizes.batch * sizes.heads, task_grain(5 * sizes.queries * sizes.keys * dim),
                   [&](index_t begin, index_t end, int lane) {
                     for (index_t task = begin; task < end; ++task) run_task(task, lane);
                   });
}

}  // namespace cones
