#include "ops/concat.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace cones {
namespace {

constexpr index_t kGrain = 1 << 16;  // elements copied

void copy(const float* source, float* target, index_t count) {
  std::memcpy(target, source, static_cast<std::size_t>(count) * sizeof(float));
}

}  // namespace

Tensor concat_channels_forward(const Context& context, const Tensor& a, const Tensor& b) {
  check(a.shape().rank() == 4 && b.shape().rank() == 4 && a.rows() == b.rows(), "concat_channels: [B, H, W, C]");
  const index_t ca = a.columns(), cb = b.columns();
  Tensor y = context.empty({a.dim(0), a.dim(1), a.dim(2), ca + cb});
  if (context.planning()) return y;
  context.parallel(y.rows(), std::max<index_t>(kGrain / (ca + cb), 1), [&](index_t begin, index_t end, int) {
    for (index_t row = begin; row < end; ++row) {
      copy(a.data() + row * ca, y.data() + row * (ca + cb), ca);
      copy(b.data() + row * cb, y.data() + row * (ca + cb) + ca, cb);
    }
  });
  return y;
}

void concat_channels_backward(const Context& context, const Tensor& dy, const Shape& shape_a, const Shape& shape_b,
                              Tensor* da, Tensor* db) {
  const index_t ca = shape_a.last(), cb = shape_b.last(), rows = shape_a.size() / ca;
  if (da != nullptr) *da = context.empty(shape_a);
  if (db != nullptr) *db = context.empty(shape_b);
  if (context.planning()) return;
  context.parallel(rows, std::max<index_t>(kGrain / (ca + cb), 1), [&](index_t begin, index_t end, int) {
    for (index_t row = begin; row < end; ++row) {
      const float* source = dy.data() + row * (ca + cb);
      if (da != nullptr) copy(source, da->data() + row * ca, ca);
      if (db != nullptr) copy(source + ca, db->data() + row * cb, cb);
    }
  });
}

Var concat_channels(Tape& tape, const Var& a, const Var& b) {
  const Context& context = tape.context();
  Var y = tape.result(concat_channels_forward(context, a.value(), b.value()), a.requires_grad() || b.requires_grad());
  if (y.requires_grad())
    tape.record([&context, shape_a = a.shape(), shape_b = b.shape(), ga = a.gradient(), gb = b.gradient(),
                 dy = y.gradient()] {
      if (!dy->tensor.defined()) return;
      const Tensor gradient = std::exchange(dy->tensor, Tensor());
      Tensor da, db;
      concat_channels_backward(context, gradient, shape_a, shape_b, ga ? &da : nullptr, gb ? &db : nullptr);
      Tape::accumulate(context, ga, std::move(da));
      Tape::accumulate(context, gb, std::move(db));
    });
  return y;
}

}  // namespace cones
