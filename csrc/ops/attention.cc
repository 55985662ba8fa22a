#include "ops/attention.h"

#include <utility>

#include "base/error.h"
#include "device/backend.h"

namespace cones {
namespace {

void check_sizes(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  check(q.shape().rank() == 3 && k.shape() == v.shape() && k.shape() == Shape({q.dim(0), k.dim(1), q.dim(2)}),
        "attention: q [B, T, C], k and v [B, S, C]");
  check(options.heads > 0 && q.dim(2) % options.heads == 0, "attention: the heads divide the channels");
  check(!options.causal || q.dim(1) == k.dim(1), "attention: causal needs as many queries as keys");
}

// With so few keys `out` costs less to make again than to keep, as in cross-attention to a text's 77 tokens.
constexpr index_t kFewKeys = 128;

}  // namespace

Tensor attention_forward(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                         const AttentionOptions& options, Tensor* logsumexp) {
  check_sizes(q, k, v, options);
  return context.backend->attention_forward(context, q, k, v, options, logsumexp);
}

void attention_backward(const Context& context, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const Tensor& out, const Tensor& logsumexp, const AttentionOptions& options, Tensor* dq,
                        Tensor* dk, Tensor* dv) {
  check_sizes(q, k, v, options);
  context.backend->attention_backward(context, dy, q, k, v, out, logsumexp, options, dq, dk, dv);
}

Var attention(Tape& tape, const Var& q, const Var& k, const Var& v, const AttentionOptions& options) {
  const Context& context = tape.context();
  const bool wanted = tape.recording() && (q.requires_grad() || k.requires_grad() || v.requires_grad());
  Tensor logsumexp;
  Var y = tape.result(
      attention_forward(context, q.value(), k.value(), v.value(), options, wanted ? &logsumexp : nullptr), wanted);
  const bool again = tape.checkpointing() == Checkpointing::light && k.shape()[1] <= kFewKeys;
  if (y.requires_grad())
    tape.record([&context, options, logsumexp, q = q.kept(), k = k.kept(), v = v.kept(), out = again ? Tensor() : y.value(),
                 gq = q.gradient(), gk = k.gradient(), gv = v.gradient(), dy = y.gradient()] {
      if (!dy->tensor.defined()) return;
      const Tensor gradient = std::exchange(dy->tensor, Tensor());
      const Tensor query = q.get(context), key = k.get(context), value = v.get(context);
      Tensor dq, dk, dv;
      attention_backward(context, gradient, query, key, value,
                         out.defined() ? out : attention_forward(context, query, key, value, options), logsumexp, options,
                         gq ? &dq : nullptr, gk ? &dk : nullptr, gv ? &dv : nullptr);
      Tape::accumulate(context, gq, std::move(dq));
      Tape::accumulate(context, gk, std::move(dk));
      Tape::accumulate(context, gv, std::move(dv));
    });
  return y;
}

}  // namespace cones
