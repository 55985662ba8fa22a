#include "ops/add.h"

#include <utility>

#include "base/error.h"
#include "kernels/kernels.h"

namespace cones {
namespace {

constexpr index_t kGrain = 1 << 16;  // elements; about what waking a thread costs

}  // namespace

Tensor add_forward(const Context& context, const Tensor& a, const Tensor& b) {
  check(a.size() == b.size(), "add: both sides have one size");
  Tensor y = context.empty(a.shape());
  if (context.planning()) return y;
  context.parallel(y.size(), kGrain, [&](index_t begin, index_t end, int) {
    context.kernels->vector->add(end - begin, a.data() + begin, b.data() + begin, y.data() + begin);
  });
  return y;
}

Var add(Tape& tape, const Var& a, const Var& b) {
  const Context& context = tape.context();
  Var y = tape.result(add_forward(context, a.value(), b.value()), a.requires_grad() || b.requires_grad());
  if (y.requires_grad())
    tape.record([&context, da = a.gradient(), db = b.gradient(), dy = y.gradient()] {
      if (!dy->tensor.defined()) return;
      // Both sides may share one tensor: accumulate() never writes in place.
      const Tensor gradient = std::exchange(dy->tensor, Tensor());
      Tape::accumulate(context, da, gradient);
      Tape::accumulate(context, db, gradient);
    });
  return y;
}

}  // namespace cones
