#include "base/context.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace cones {

Tensor Context::zeros(const Shape& shape) const {
  Tensor tensor = empty(shape);
  if (!planning()) std::memset(tensor.data(), 0, static_cast<std::size_t>(tensor.size()) * sizeof(float));
  return tensor;
}

void Context::parallel(index_t count, index_t grain, const std::function<void(index_t, index_t, int)>& f) const {
  if (count <= 0) return;
  // Four ranges per thread balance threads that other load on the machine slows down.
  const index_t wanted = pool->threads() == 1 ? 1 : index_t{4} * pool->threads();
  const index_t ranges = std::clamp<index_t>(count / std::max<index_t>(grain, 1), 1, wanted);
  pool->run(ranges, [&](index_t i, int lane) { f(count * i / ranges, count * (i + 1) / ranges, lane); });
}

void Context::check_aborted() const {
  if (aborted != nullptr && aborted->load(std::memory_order_relaxed)) fail("CONES_ABORTED", "The job was aborted.");
}

}  // namespace cones
