#include <algorithm>
#include <cstring>

#include "cpu/backend.h"

namespace cones {
namespace {

constexpr index_t kGrain = 1 << 16;  // elements copied

void copy(const float* source, float* target, index_t count) {
  std::memcpy(target, source, static_cast<std::size_t>(count) * sizeof(float));
}

}  // namespace

Tensor Cpu::concat_channels_forward(const Context& context, const Tensor& a, const Tensor& b) const {
  const index_t ca = a.columns(), cb = b.columns();
  Tensor y = context.empty({a.dim(0), a.dim(1), a.dim(2), ca + cb});
  parallel(y.rows(), std::max<index_t>(kGrain / (ca + cb), 1), [&](index_t begin, index_t end, int) {
    for (index_t row = begin; row < end; ++row) {
      copy(a.host() + row * ca, y.host() + row * (ca + cb), ca);
      copy(b.host() + row * cb, y.host() + row * (ca + cb) + ca, cb);
    }
  });
  return y;
}

void Cpu::concat_channels_backward(const Context& context, const Tensor& dy, const Shape& shape_a, const Shape& shape_b,
                              Tensor* da, Tensor* db) const {
  const index_t ca = shape_a.last(), cb = shape_b.last(), rows = shape_a.size() / ca;
  if (da != nullptr) *da = context.empty(shape_a);
  if (db != nullptr) *db = context.empty(shape_b);
  parallel(rows, std::max<index_t>(kGrain / (ca + cb), 1), [&](index_t begin, index_t end, int) {
    for (index_t row = begin; row < end; ++row) {
      const float* source = dy.host() + row * (ca + cb);
      if (da != nullptr) copy(source, da->host() + row * ca, ca);
      if (db != nullptr) copy(source + ca, db->host() + row * cb, cb);
    }
  });
}

}  // namespace cones
