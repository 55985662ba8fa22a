#include "ops/kv_project.h"

#include "base/error.h"
#include "ops/concept_mask.h"

namespace cones {
namespace {

/// What a projection reads of one tensor in this view; `masks` holds the list that the result refers to.
KvOperand operand(const KvWeights& weights, const KvView& view, index_t batch, std::vector<const Prepared*>& masks) {
  check(view.masks.empty() || static_cast<index_t>(view.masks.size()) == batch, "one mask per batch row");
  for (const ConceptMask* mask : view.masks) masks.push_back(mask ? mask->prepared(weights.index()) : nullptr);
  return {.weights = &weights.base().prepared(),
          .masks = masks,
          .gamma = view.scaled ? view.scaled->gamma(weights.index()) : nullptr};
}

}  // namespace

KvWeights::KvWeights(const Context& context, const Parameter* weight, int index)
    : weight_(weight), index_(index), linear_(context, weight, nullptr) {}

Tensor kv_project_forward(const Context& context, const Tensor& x, const KvWeights& weights, const KvView& view) {
  check(x.shape().rank() == 3 && x.columns() == weights.in(), "kv_project: x is [B, T, in]");
  std::vector<const Prepared*> masks;
  return context.backend->kv_project_forward(context, x, operand(weights, view, x.dim(0), masks), weights.out());
}

Tensor kv_project_backward_input(const Context& context, const Tensor& dy, const KvWeights& weights,
                                 const KvView& view, const Tensor& onto) {
  const index_t batch = view.masks.empty() ? 1 : static_cast<index_t>(view.masks.size());
  const index_t rows = dy.size() / weights.out() / batch;  // per batch row
  check(!onto.defined() || onto.size() == batch * rows * weights.in(), "kv_project: gradients of one input have one size");
  std::vector<const Prepared*> masks;
  return context.backend->kv_project_backward_input(context, dy.reshape({batch, rows, weights.out()}),
                                                    operand(weights, view, batch, masks), weights.in(), onto);
}

Var kv_project(Tape& tape, const Var& x, const KvWeights& weights, const KvView& view) {
  const Context& context = tape.context();
  const bool wants_weight = tape.wants(&weights.parameter());
  Var y = tape.result(kv_project_forward(context, x.value(), weights, view), x.requires_grad() || wants_weight);
  tape.add_changes(&weights.parameter(), x.value(), y.value());
  if (!y.requires_grad()) return y;
  tape.record([&context, &weights, &view, parameters = tape.parameters(), kept = wants_weight ? x.kept() : Kept(), dx = x.gradient(), dy = y.gradient(),
               wants_weight] {
    if (!dy->tensor.defined()) return;
    // dx first: the search turns the weight gradient into an update of ξ.
    if (dx) dx->tensor = kv_project_backward_input(context, dy->tensor, weights, view, dx->tensor);
    if (wants_weight) {
      const Tensor input = kept.get(context);
      const index_t rows = input.rows();
      parameters->add_outer(context, weights.parameter(), input.reshape({rows, weights.in()}),
                            dy->tensor.reshape({rows, weights.out()}));
    }
    dy->tensor = Tensor();
  });
  return y;
}

}  // namespace cones
