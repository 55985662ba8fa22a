#include "ops/add.h"

#include <utility>

#include "base/error.h"
#include "device/backend.h"

namespace cones {
namespace {

// y may be a or b.
void add_to(const Context& context, const Tensor& a, const Tensor& b, const Tensor& y) {
  check(a.size() == b.size(), "add: both sides have one size");
  context.backend->add(context, a, b, y);
}

}  // namespace

Tensor add_forward(const Context& context, const Tensor& a, const Tensor& b) {
  Tensor y = context.empty(a.shape());
  add_to(context, a, b, y);
  return y;
}

Tensor add_onto(const Context& context, const Tensor& a, Tensor b) {
  if (b.shared()) return add_forward(context, a, b);
  add_to(context, a, b, b);
  return b.reshape(a.shape());
}

Var add(Tape& tape, const Var& a, const Var& b) {
  const Context& context = tape.context();
  Var y = tape.result(add_forward(context, a.value(), b.value()), a.requires_grad() || b.requires_grad());
  if (y.requires_grad())
    tape.record([&context, da = a.gradient(), db = b.gradient(), dy = y.gradient()] {
      if (!dy->tensor.defined()) return;
      // Both sides may have one tensor: accumulate() never writes to one that is shared.
      const Tensor gradient = std::exchange(dy->tensor, Tensor());
      Tape::accumulate(context, da, gradient);
      Tape::accumulate(context, db, gradient);
    });
  return y;
}

}  // namespace cones
