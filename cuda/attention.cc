#include "cuda/attention.h"

#include "cuda/backend.h"

namespace cones {

Tensor Cuda::attention_forward(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                               const AttentionOptions& options, Tensor* logsumexp) const {
  Tensor out = context.empty(q.shape());
  if (logsumexp) *logsumexp = context.empty({q.dim(0), options.heads, q.dim(1)}, DType::f32);
  launch(library_.attention_forward, {.type = type(),
                                      .batch = q.dim(0),
                                      .queries = q.dim(1),
                                      .keys = k.dim(1),
                                      .channels = q.dim(2),
                                      .heads = options.heads,
                                      .causal = options.causal,
                                      .q = q.raw(),
                                      .k = k.raw(),
                                      .v = v.raw(),
                                      .out = out.raw(),
                                      .logsumexp = floats(logsumexp)});
  return out;
}

void Cuda::attention_backward(const Context& context, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                              const Tensor& out, const Tensor& logsumexp, const AttentionOptions& options, Tensor* dq,
                              Tensor* dk, Tensor* dv) const {
  if (dq) *dq = context.empty(q.shape());
  if (dk) *dk = context.empty(k.shape());
  if (dv) *dv = context.empty(v.shape());
  const Tensor partial = context.empty(
      {cuda::attention_backward_scratch(q.dim(0), q.dim(1), k.dim(1), q.dim(2), options.heads)}, DType::f32);
  launch(library_.attention_backward, {.type = type(),
                                       .batch = q.dim(0),
                                       .queries = q.dim(1),
                                       .keys = k.dim(1),
                                       .channels = q.dim(2),
                                       .heads = options.heads,
                                       .causal = options.causal,
                                       .dy = dy.raw(),
                                       .q = q.raw(),
                                       .k = k.raw(),
                                       .v = v.raw(),
                                       .out = out.raw(),
                                       .logsumexp = floats(logsumexp),
                                       .dq = raw(dq),
                                       .dk = raw(dk),
                                       .dv = raw(dv),
                                       .scratch = floats(partial)});
}

}  // namespace cones
