// Multi-head scaled dot-product attention, blockwise: scores never reach memory (Dao et al., FlashAttention, 2022).
#pragma once

#include "library.h"

namespace cones::cuda {

/// out [B, T, C] = softmax(q kᵀ / √d) v per head, for q [B, T, C], k and v [B, S, C], all of `type`, which is f16 or bf16; head h
/// lies in channels [h·d, (h+1)·d), d = C / heads.
struct AttentionForwardArgs {
  Type type;
  std::int64_t batch, queries, keys, channels, heads;  // B, T, S, C; the heads divide C
  bool causal;                                         // query t sees keys 0 … t only; needs T = S
  const void *q, *k, *v;
  void* out;
  float* logsumexp;  // [B, heads, T] receives ln Σ_s exp(score), which backward needs; null: not wanted
};
int attention_forward(Stream* stream, const AttentionForwardArgs& args);

/// Gradients of attention_forward for dy [B, T, C]; out and logsumexp are forward's.
struct AttentionBackwardArgs {
  Type type;
  std::int64_t batch, queries, keys, channels, heads;
  bool causal;
  const void *dy, *q, *k, *v, *out;
  const float* logsumexp;
  void *dq, *dk, *dv;  // [B, T, C], [B, S, C], [B, S, C]; null: not wanted
  float* scratch;      // attention_backward_scratch(…) floats
};
int attention_backward(Stream* stream, const AttentionBackwardArgs& args);

/// Parts in which the sums over queries of dk and dv are made, where so few keys would occupy little of a GPU. Of a row's own
/// sizes only: a result never depends on the batch.
constexpr std::int64_t attention_backward_parts(std::int64_t queries, std::int64_t keys) {
  const std::int64_t parts = (queries + 63) / 64 / ((keys + 63) / 64 * 4);
  return parts < 1 ? 1 : parts > 16 ? 16 : parts;
}

/// Floats of scratch: two statistics [B, heads, T] of dy, and the parts [parts, B, S, C] of dk and of dv if there are several.
constexpr std::int64_t attention_backward_scratch(std::int64_t batch, std::int64_t queries, std::int64_t keys,
                                                  std::int64_t channels, std::int64_t heads) {
  const std::int64_t parts = attention_backward_parts(queries, keys);
  return 2 * batch * heads * queries + (parts > 1 ? 2 * parts * batch * keys * channels : 0);
}

}  // namespace cones::cuda
