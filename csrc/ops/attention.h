// Multi-head scaled dot-product attention, blockwise: the scores are never stored, so memory is O(T).
// (Dao et al., FlashAttention, 2022; the layers are diffusers' Attention, "Cones" §2.)
#pragma once

#include "device/options.h"
#include "ops/tape.h"

namespace cones {

/// out [B, T, C] = softmax(q kᵀ / √(C/heads)) v per head, for q [B, T, C], k and v [B, S, C]; head h lies in channels
/// [h·C/heads, (h+1)·C/heads).
/// logsumexp [B, heads, T]: where not null, receives ln Σ_s exp(score), which backward needs.
Tensor attention_forward(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                         const AttentionOptions& options, Tensor* logsumexp = nullptr);

/// Gradients of attention_forward for dy [B, T, C]; a null pointer means not wanted. out and logsumexp are forward's.
void attention_backward(const Context& context, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const Tensor& out, const Tensor& logsumexp, const AttentionOptions& options, Tensor* dq,
                        Tensor* dk, Tensor* dv);

Var attention(Tape& tape, const Var& q, const Var& k, const Var& v, const AttentionOptions& options);

}  // namespace cones
