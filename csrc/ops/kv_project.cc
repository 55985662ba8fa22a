#include "ops/kv_project.h"

#include <functional>

#include "base/error.h"
#include "concepts/mask.h"

namespace cones {
namespace {

// Calls f(first row, one past the last row, mask) for every run of batch rows with one mask.
void for_each_run(const KvView& view, index_t batch, const std::function<void(index_t, index_t, const ConceptMask*)>& f) {
  if (view.masks.empty()) return f(0, batch, nullptr);
  check(static_cast<index_t>(view.masks.size()) == batch, "one mask per batch row");
  for (index_t begin = 0, end; begin < batch; begin = end) {
    const ConceptMask* mask = view.masks[static_cast<std::size_t>(begin)];
    for (end = begin + 1; end < batch && view.masks[static_cast<std::size_t>(end)] == mask;) ++end;
    f(begin, end, mask);
  }
}

// (M ⊙ W) as B [out, in]. Only gradients through a masked network need it (researchers, not the sampler), so it is
// packed when asked for.
PackedMatrix pack_masked_backward(const Context& context, const KvWeights& weights, const ConceptMask& mask) {
  const Parameter& parameter = weights.parameter();
  Tensor dense = context.empty(parameter.shape);
  if (!context.planning()) {
    parameter.read(0, parameter.size(), dense.data());
    for (std::uint32_t index : mask.indices(weights.index())) dense.data()[index] = 0.0f;
  }
  return PackedMatrix::pack(context, dense.data(), weights.out(), weights.in(), weights.in(), 1);
}

}  // namespace

KvWeights::KvWeights(const Context& context, const Parameter* weight, int index, Source source)
    : weight_(weight), index_(index), source_(source), linear_(context, weight, nullptr) {}

Tensor kv_project_forward(const Context& context, const Tensor& x, const KvWeights& weights, const KvView& view) {
  const index_t batch = x.dim(0), tokens = x.dim(1), in = weights.in(), out = weights.out();
  Tensor y = context.empty({batch, tokens, out});
  if (context.planning()) return y;
  const PackedMatrix* scaled = view.scaled ? view.scaled->forward(weights.index()) : nullptr;
  const PackedMatrix& matrix = scaled ? *scaled : weights.base().forward();
  for_each_run(view, batch, [&](index_t begin, index_t end, const ConceptMask* mask) {
    gemm(context, x.data() + begin * tokens * in, in, (end - begin) * tokens, matrix, y.data() + begin * tokens * out,
         out, {}, mask ? mask->packed(weights.index()) : nullptr);
  });
  return y;
}

Tensor kv_project_backward_input(const Context& context, const Tensor& dy, const KvWeights& weights,
                                 const KvView& view, const Tensor& onto) {
  const index_t in = weights.in(), out = weights.out();
  const index_t batch = view.masks.empty() ? 1 : static_cast<index_t>(view.masks.size());
  const index_t rows = dy.size() / out / batch;  // per batch row
  Tensor dx = context.empty({batch, rows, in});
  check(!onto.defined() || onto.size() == dx.size(), "kv_project: gradients of one input have one size");
  const PackedMatrix* scaled = view.scaled ? view.scaled->backward(weights.index()) : nullptr;
  for_each_run(view, batch, [&](index_t begin, index_t end, const ConceptMask* mask) {
    PackedMatrix masked;
    if (mask && mask->packed(weights.index())) masked = pack_masked_backward(context, weights, *mask);
    const PackedMatrix& matrix =
        scaled ? *scaled : masked.defined() ? masked : weights.base().backward(context);
    if (context.planning()) return;
    gemm(context, dy.data() + begin * rows * out, out, (end - begin) * rows, matrix, dx.data() + begin * rows * in, in,
         {.residual = onto.defined() ? onto.data() + begin * rows * in : nullptr});
  });
  return dx;
}

Var kv_project(Tape& tape, const Var& x, const KvWeights& weights, const KvView& view) {
  const Context& context = tape.context();
  const bool wants_weight = tape.wants(&weights.parameter());
  Var y = tape.result(kv_project_forward(context, x.value(), weights, view), x.requires_grad() || wants_weight);
  if (!y.requires_grad()) return y;
  Tensor kept = wants_weight ? x.value() : Tensor();
  tape.record([&context, &weights, &view, parameters = tape.parameters(), kept, dx = x.gradient(), dy = y.gradient(),
               wants_weight] {
    if (!dy->tensor.defined()) return;
    // dx first: the search turns the weight gradient into an update of ξ.
    if (dx) dx->tensor = kv_project_backward_input(context, dy->tensor, weights, view, dx->tensor);
    if (wants_weight) {
      const index_t rows = kept.rows();
      parameters->add_outer(context, weights.parameter(), kept.reshape({rows, weights.in()}),
                            dy->tensor.reshape({rows, weights.out()}));
    }
    dy->tensor = Tensor();
  });
  return y;
}

}  // namespace cones
